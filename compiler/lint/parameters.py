"""Rules about inputs that must be constants, inputs and attributes that are not read, and constants that are mis-read.

Sources: onnx-tensorrt docs/operators.md of the versions named, and the importers of 8.0-GA and 8.5-GA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..targets.operators import Version
from .node import Node
from .rule import NEVER, TENSORRT, TENSORRT_8, Problem, Problems, node_rule, tensorrt

REDUCTIONS = "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare"
FIRST: Version = (0, 0)
NINE: Version = (9, 0)
PAD_MODES = ("constant", "reflect", "edge")


@dataclass(frozen=True)
class ConstantInput:
    """An input that must be a constant in the versions [since, before)."""

    index: int
    name: str
    since: Version = FIRST
    before: Version = NEVER


CONSTANTS: Mapping[str, tuple[ConstantInput, ...]] = {
    "Slice": (ConstantInput(3, "axes", before=(10, 3)),),
    "Squeeze": (ConstantInput(1, "axes"),),
    "Unsqueeze": (ConstantInput(1, "axes"),),
    "TopK": (ConstantInput(1, "K", before=(8, 6)),),
    "OneHot": (ConstantInput(1, "depth"),),
    "CumSum": (ConstantInput(1, "axis"),),
    "ReduceSum": (ConstantInput(1, "axes"),),
    "Upsample": (ConstantInput(1, "scales", before=NINE),),
    "Clip": (ConstantInput(1, "min", before=(8, 2)), ConstantInput(2, "max", before=(8, 2))),
    "Split": (ConstantInput(1, "split", before=(8, 2)),),
    "Resize": (ConstantInput(2, "scales", before=(8, 2)), ConstantInput(3, "sizes", before=(8, 2))),
    "Pad": (
        ConstantInput(1, "pads", before=(8, 2)),
        ConstantInput(2, "constant_value", before=(8, 2)),
        ConstantInput(3, "axes", since=NINE, before=(10, 4)),
    ),
    **{op: (ConstantInput(1, "axes", since=NINE),) for op in REDUCTIONS.split()},
}
UNREAD_ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "Split": {"num_outputs": None},
    "Resize": {"antialias": 0, "axes": None, "keep_aspect_ratio_policy": "stretch"},
}
"""Attributes of opset 18 that TensorRT 8 does not read, with the values that change nothing."""


@node_rule("constant-parameter", " ".join(CONSTANTS), targets=TENSORRT, source="docs/operators.md 8.0 to 10.16")
def constant_parameter(node: Node) -> Problems:
    """Axes, counts and sizes that shape the engine must be initializers or Constants."""
    version = node.context.target.tensorrt or FIRST
    for entry in CONSTANTS[node.op]:
        if entry.since <= version < entry.before and node.computed(entry.index):
            yield Problem(f"{entry.name} is computed, {node.op} needs a constant", "fold constants, or store it")


@node_rule("reduce-axes", REDUCTIONS, targets=TENSORRT_8, source="onnx-tensorrt 8.5-GA, importers of Reduce*")
def reduce_axes(node: Node) -> Problems:
    """The input `axes` of opset 18 is not read: everything is reduced."""
    if node.has(1):
        yield Problem("the input axes is ignored, all axes are reduced", "write axes as an attribute, at opset 17")


@node_rule("pad-axes", "Pad", targets=TENSORRT_8, source="onnx-tensorrt 8.5-GA, importer of Pad")
def pad_axes(node: Node) -> Problems:
    """The input `axes` of opset 18 is not read."""
    if node.has(3):
        yield Problem("the input axes is ignored", "write pads for every axis, at opset 17")


@node_rule("attribute-unread", " ".join(UNREAD_ATTRIBUTES), targets=TENSORRT_8, source="onnx-tensorrt 8.5-GA importers")
def attribute_unread(node: Node) -> Problems:
    """Attributes of opset 18 are not read."""
    for name, harmless in UNREAD_ATTRIBUTES[node.op].items():
        if node.attribute(name, harmless) != harmless:
            yield Problem(f"{name}={node.attribute(name)} is ignored", "export at opset 17")


@node_rule("pad-mode", "Pad", targets=TENSORRT, source="onnx-tensorrt Changelog 8.2 and 10.0")
def pad_mode(node: Node) -> Problems:
    """Padding is constant, reflect or edge; wrap came with 10.0."""
    known = PAD_MODES if TENSORRT_8(node.context.target) else (*PAD_MODES, "wrap")
    if node.attribute("mode", "constant") not in known:
        yield Problem(f"mode={node.attribute('mode')}", f"TensorRT has {', '.join(known)}")


@node_rule("pad-two", "Pad", targets=tensorrt(before=(8, 2)), source="onnx-tensorrt 8.0-GA, importer of Pad")
def pad_two(node: Node) -> Problems:
    """Before TensorRT 8.2 a Pad writes zeros, on at most two axes."""
    mode, values = node.attribute("mode", "constant"), node.values(2)
    value = node.attribute("value", 0.0) if values is None else values.reshape(-1)[:1].sum()
    if mode != "constant" or value != 0:
        yield Problem(f"it pads by {mode if mode != 'constant' else value}", "TensorRT 8.0 pads with zeros only")
    pads = node.attribute("pads") if node.values(1) is None else node.values(1)
    if pads is not None and np.asarray(pads).reshape(2, -1).any(axis=0).sum() > 2:
        yield Problem("it pads more than two axes", "use one Pad for every two axes")


@node_rule("clip-layers", "Clip", targets=TENSORRT_8, severity="warning", source="8.5-GA, importer of Clip")
def clip_layers(node: Node) -> Problems:
    """A Clip of floats with constant bounds is one activation that fuses with a Conv, any other two layers."""
    if node.computed(1) or node.computed(2) or node.engine_type(0) == "INT32":
        kind = "INT32 data" if node.engine_type(0) == "INT32" else "computed bounds"
        yield Problem(f"{kind} make two elementwise layers", "clip floats between initializers")


@node_rule("constant-integer", "Constant", targets=TENSORRT_8, source="8.5-GA l.589, importer of Constant")
def constant_integer(node: Node) -> Problems:
    """value_int and value_ints are read from the field of the floats."""
    for name in ("value_int", "value_ints"):
        if name in node.attributes:
            yield Problem(f"{name} is read as 0 or as nothing", "write `value`, or an initializer")


@node_rule("constant-kind", "Constant", targets=TENSORRT, source="onnx-tensorrt docs/operators.md, Constant")
def constant_kind(node: Node) -> Problems:
    """Constants are dense numbers."""
    for name in ("sparse_value", "value_string", "value_strings"):
        if name in node.attributes:
            yield Problem(f"{name} is refused", "write `value`, a dense tensor of numbers")


RULES = (
    constant_parameter,
    reduce_axes,
    pad_axes,
    attribute_unread,
    pad_mode,
    pad_two,
    clip_layers,
    constant_integer,
    constant_kind,
)
