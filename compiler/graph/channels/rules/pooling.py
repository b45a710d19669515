"""Operators over positions: pooling, resizing, reductions. Channels pass, unless they are what is reduced."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ..flow import Flow, Labels, given
from .sizes import follow_count
from .table import rule

POOLS = (
    *("AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"),
    *("GridSample", "MaxRoiPool", "RoiAlign"),
)
REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare", "ArgMax", "ArgMin"),
)


@rule(*POOLS)
def pool(node: gs.Node, flow: Flow) -> None:
    labels = flow.of(node.inputs[0])
    if labels is None:
        return None
    if labels.axis != 1:
        return flow.stop(node, f"finds channels along axis {labels.axis} of its input")
    if any(not tensor.is_empty() for tensor in node.outputs[1:]):
        return flow.stop(node, "gives indices that count channels")
    return flow.set_labels(node.outputs[0], 1, labels.ids)


@rule("Resize", "Upsample")
def resize(node: gs.Node, flow: Flow) -> None:
    """The number of channels stands in `sizes`, if anywhere: scales are those of the axis, 1."""
    labels, after = flow.of(node.inputs[0]), flow.shape(node.outputs[0])
    sized = node.op == "Resize" and given(node, 3)
    axes: list[int] = node.attrs.get("axes") or list(range(len(after or ())))
    if labels is None or after is None or after[labels.axis] != len(labels.ids) or _keeps_aspect(node):
        follow_count(node, 3, None, np.array([]), flow)
        return flow.stop(node, "changes channels, or its shape is unknown")
    if sized:
        position = axes.index(labels.axis) if labels.axis in axes else None
        follow_count(node, 3, position, labels.ids, flow)
    return flow.set_labels(node.outputs[0], labels.axis, labels.ids)


def _keeps_aspect(node: gs.Node) -> bool:
    return node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch"


@rule(*REDUCTIONS)
def reduce(node: gs.Node, flow: Flow) -> None:
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    if labels is None:
        return None
    axes = _axes(node, flow)
    if axes is None or shape is None:
        return flow.stop(node, "has computed axes, or an input of unknown shape")
    reduced = {axis % len(shape) for axis in axes}
    if not reduced and not node.attrs.get("noop_with_empty_axes", 0):
        reduced = set(range(len(shape)))
    if labels.axis in reduced:
        return flow.stop(node, "reduces over channels")
    return flow.set_labels(node.outputs[0], _left(node, labels, reduced), labels.ids)


def _left(node: gs.Node, labels: Labels, reduced: set[int]) -> int:
    """The channel axis of the result."""
    if node.attrs.get("keepdims", 1):
        return labels.axis
    return labels.axis - sum(axis < labels.axis for axis in reduced)


def _axes(node: gs.Node, flow: Flow) -> list[int] | None:
    """Empty where none are given; None where they are computed."""
    if node.op.startswith("Arg"):
        return [node.attrs.get("axis", 0)]
    if not given(node, 1):
        return list(node.attrs.get("axes", []))
    values = flow.constant(node.inputs[1])
    return None if values is None else [int(axis) for axis in values.ravel()]
