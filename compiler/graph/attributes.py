"""Attributes of convolutions and pooling that no engine can work with: each reads them in its own way, or crashes.

For n spatial axes:

    kernel_shape            n sizes of 1 or more, those of the weight; pooling has it always
    strides, dilations      n steps of 1 or more
    pads                    2 n numbers of 0 or more; of pooling, smaller than the kernel is
    output_padding          n numbers of 0 or more, smaller than stride or dilation
    output_shape            n sizes of 1 or more
    auto_pad                NOTSET, SAME_UPPER, SAME_LOWER or VALID
    group                   1 or more; channels, weight and bias divide into it

Source: the operators' documents, and what onnxruntime 1.32 refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

CONVS = frozenset({"Conv", "ConvTranspose"})
POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
PADDED = CONVS | POOLS
AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "")
STEPS = ("kernel_shape", "strides", "dilations", "output_shape")
Shape = tuple[int, ...]


class Shapes(NamedTuple):
    """Of data, weight and bias: empty where not known or not there; a dimension that is not known is 0."""

    data: Shape = ()
    weight: Shape = ()
    bias: Shape = ()


def attribute_fault(op: str, attributes: Mapping[str, Any], shapes: Shapes) -> str | None:
    """What is wrong with a node of `PADDED`, or None; sizes that are not known fit."""
    mode = attributes.get("auto_pad", "NOTSET")
    if mode not in AUTO_PAD:
        return f"auto_pad={mode}, which is none of {', '.join(AUTO_PAD[:-1])}"
    axes = _axes(attributes, shapes)
    return (
        _list_fault(attributes, axes) or _kernel_fault(op, attributes, shapes) or _group_fault(op, attributes, shapes)
    )


def _axes(attributes: Mapping[str, Any], shapes: Shapes) -> int | None:
    """How many spatial axes there are."""
    for shape in (shapes.weight, shapes.data):
        if len(shape) > 2:
            return len(shape) - 2
    return len(attributes["kernel_shape"]) if "kernel_shape" in attributes else None


def _list_fault(attributes: Mapping[str, Any], axes: int | None) -> str | None:
    lists = {**dict.fromkeys(STEPS, (1, 1)), "pads": (2, 0), "output_padding": (1, 0)}
    for name, (times, least) in lists.items():
        values = list(attributes.get(name, ()))
        if not values:
            continue
        if axes is not None and len(values) != times * axes:
            return f"{name}={values}, where {axes} spatial axes need {times * axes} numbers"
        if min(values) < least:
            return f"{name}={values}, where {least} is the least"
    return None


def _kernel_fault(op: str, attributes: Mapping[str, Any], shapes: Shapes) -> str | None:
    kernel, weight = list(attributes.get("kernel_shape", ())), list(shapes.weight[2:])
    if op in CONVS:
        known = [size or given for size, given in zip(weight, kernel, strict=False)]
        if kernel and weight and known != kernel:
            return f"kernel_shape={kernel}, where the weight has {weight}"
        return _padding_fault(attributes)
    if not kernel:
        return "it has no kernel_shape"
    pads = list(attributes.get("pads", ()))
    if any(pad >= size for pad, size in zip(pads, 2 * kernel, strict=False)):
        return f"pads={pads}, where a kernel of {kernel} takes smaller ones only"
    return None


def _padding_fault(attributes: Mapping[str, Any]) -> str | None:
    """ConvTranspose: the padding of an output is what a stride leaves open."""
    padding = list(attributes.get("output_padding", ()))
    ones = [1] * len(padding)
    strides, dilations = (list(attributes.get(name, ())) or ones for name in ("strides", "dilations"))
    if any(size >= max(steps) for size, *steps in zip(padding, strides, dilations, strict=False) if size):
        return f"output_padding={padding}, where strides={strides} allow smaller ones only"
    return None


def _group_fault(op: str, attributes: Mapping[str, Any], shapes: Shapes) -> str | None:
    group = attributes.get("group", 1)
    if group < 1:
        return f"group={group}, where 1 is the least"
    data, weight, bias = shapes
    if op not in CONVS or len(weight) < 3 or not prod(weight[:2]):
        return None
    filters, inputs = (weight[0], weight[1] * group) if op == "Conv" else (weight[1] * group, weight[0])
    fits = weight[0] % group == 0 and bias in ((), (0,), (filters,)) and (len(data) < 2 or data[1] in (0, inputs))
    return None if fits else f"weight {weight}, bias {bias}, input {data} and {group} groups do not fit"
