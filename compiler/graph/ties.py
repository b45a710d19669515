"""Layers that read one stored weight: a head over several levels, twin branches, a block that is run again.

Together they are one layer with several uses. It has one fit, on the inputs of all uses, and one new weight that all of
them read, so that what is shared in the file stays shared.

Uses have the same weight and the same bias, and may differ in strides, pads and dilations. Where something else reads
the stored weight, too, a ConvTranspose say, or a layer with another bias, it cannot change for all of its readers, and
the layer is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import onnx_graphsurgeon as gs

from .linear_layer import LinearLayer
from .weights import READ_THROUGH, sources

APART = "which has another bias, group or form of it, or lies in a subgraph"
"""Of two layers of one kind neither keeps the weight for the other's sake alone."""
AnyLayer = TypeVar("AnyLayer", bound=LinearLayer)


def tie(layers: Iterable[AnyLayer]) -> list[AnyLayer]:
    """One layer per stored weight, at the place of its first use; the later uses are its `others`."""
    found: dict[int, list[list[AnyLayer]]] = {}
    groups: list[list[AnyLayer]] = []
    for layer in layers:
        alike = found.setdefault(id(stored_tensor(layer.node.inputs[1])), [])
        group = next((each for each in alike if _same(each[0], layer)), None)
        if group is None:
            group = list[AnyLayer]()
            alike.append(group)
            groups.append(group)
        group.append(layer)
    return [replace(first, others=tuple(rest)) if rest else first for first, *rest in groups]


def refusal(layer: AnyLayer, of_use: Callable[[AnyLayer], str | None]) -> str | None:
    """Why a layer is left alone: what `of_use` says of one of its uses, or what reads its weight beside them."""
    for use in layer.uses:
        reason = of_use(use)
        if reason is not None:
            return reason if use.node is layer.node else f"shares its weight with '{use.name}': {reason}"
    uses = {id(use.node) for use in layer.uses}
    beside = next((node for node in readers(layer.node.inputs[1]) if id(node) not in uses), None)
    if beside is None:
        return None
    why = APART if beside.op == layer.node.op else "which keeps it"
    return f"shares its weight with {beside.op} '{beside.name}', {why}"


def readers(tensor: gs.Tensor) -> Iterator[gs.Node]:
    """The nodes that read what is stored for `tensor`, past those that `weights.resolve` reads through."""
    seen, waiting = set[int](), [stored_tensor(tensor)]
    while waiting:
        for node in waiting.pop().outputs:
            if id(node) in seen:
                continue
            seen.add(id(node))
            if node.op in READ_THROUGH:
                waiting += node.outputs
            else:
                yield node


def stored_tensor(tensor: gs.Tensor) -> gs.Tensor:
    """The tensor that the file holds for a weight: its codes where it is quantized; the largest that it comes from."""
    return max(sources(tensor), key=_size)


def _size(tensor: gs.Tensor) -> int:
    return int(np.prod(tensor.shape)) if isinstance(tensor, gs.Constant) else 0


def _same(one: LinearLayer, other: LinearLayer) -> bool:
    if type(one) is not type(other) or one.group != other.group or one.dtype != other.dtype:
        return False
    if (one.bias is None) != (other.bias is None):
        return False
    alike = one.bias is None or other.bias is None or np.array_equal(one.bias, other.bias)
    return alike and np.array_equal(one.weight, other.weight)
