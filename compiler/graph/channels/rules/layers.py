"""Layers: sums over channels. They end the labels of their input and give their filters fresh ones.

    Conv            weight (N, C/g, k...): filters along axis 0, channels along axis 1
    ConvTranspose   weight (C, N/g, k...): channels along axis 0, filters along axis 1
    Gemm            weight (d, N), with transB (N, d)
    MatMul          x W with W (d, N), or W x with W (N, d)

With g groups the groups must stay alike, which can be had in two ways; the one that leaves more units is taken.

1. Positions: the channels at the same position of every group live or die together, and so do the filters. One group
   is the plain case.
2. Whole groups: the channels and filters of one group live or die together. A depthwise Conv is the plain case.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_graphsurgeon as gs

from ...rewriter import Rewriter
from ..flow import Flow, KeptLabels, Labels, given, title
from .table import rule


@rule("Conv", "ConvTranspose")
def conv(node: gs.Node, flow: Flow) -> None:
    weight = flow.constant(node.inputs[1])
    labels = flow.of(node.inputs[0])
    if weight is None:
        return flow.stop(node, "has a weight that is not constant")
    if given(node, 2) and flow.constant(node.inputs[2]) is None:
        return flow.stop(node, "has a bias that is not constant")
    if labels is not None and labels.axis != 1:
        flow.stop(node, f"finds channels along axis {labels.axis} of its input")
        labels = None
    group = int(node.attrs.get("group", 1))
    inputs, filters = _sizes(node, weight.shape, group)
    if labels is not None and len(labels.ids) != group * inputs:
        return flow.stop(node, "has a weight that does not fit its input")
    if labels is not None and group > 1 and group >= max(inputs, filters):
        return _whole_groups(node, flow, labels, group, filters)
    _read_positions(node, flow, labels, group)
    return _write_positions(node, flow, group, filters)


def _sizes(node: gs.Node, shape: tuple[int, ...], group: int) -> tuple[int, int]:
    """Channels and filters of one group."""
    if node.op == "Conv":
        return shape[1], shape[0] // group
    return shape[0] // group, shape[1]


def _whole_groups(node: gs.Node, flow: Flow, labels: Labels, group: int, filters: int) -> None:
    """Rule 2."""
    rows = labels.ids.reshape(group, -1)
    heads = flow.tie_rows(rows.T, f"{title(node)} ties the channels of each of its {group} groups")
    ids = np.repeat(heads, filters)
    flow.slot(node, 1, 0, "parameter", ids if node.op == "Conv" else labels.ids)
    if given(node, 2):
        flow.slot(node, 2, 0, "parameter", ids)
    flow.set_labels(node.outputs[0], 1, ids)
    flow.add_update(heads, partial(_set_groups, node, heads))


def _set_groups(node: gs.Node, heads: np.ndarray, kept: KeptLabels, rewriter: Rewriter) -> None:
    node.attrs["group"] = int(kept(heads).sum())


def _read_positions(node: gs.Node, flow: Flow, labels: Labels | None, group: int) -> None:
    """Rule 1 for the input."""
    if labels is None:
        return
    heads = flow.tie_rows(labels.ids.reshape(group, -1), _alike(node, group))
    flow.slot(node, 1, 1 if node.op == "Conv" else 0, "input", heads if node.op == "Conv" else labels.ids)


def _write_positions(node: gs.Node, flow: Flow, group: int, filters: int) -> None:
    """Rule 1 for the output."""
    if node.op == "Conv":
        ids = flow.fresh(group * filters)
        flow.slot(node, 1, 0, "filter", ids)
        flow.tie_rows(ids.reshape(group, -1), _alike(node, group))
    else:
        heads = flow.fresh(filters)
        flow.slot(node, 1, 1, "filter", heads)
        ids = np.tile(heads, group)
    if given(node, 2):
        flow.slot(node, 2, 0, "parameter", ids)
    flow.set_labels(node.outputs[0], 1, ids)


def _alike(node: gs.Node, group: int) -> str:
    return f"{title(node)} keeps its {group} groups alike"


@rule("Gemm")
def gemm(node: gs.Node, flow: Flow) -> None:
    weight, labels = flow.constant(node.inputs[1]), flow.of(node.inputs[0])
    bias = flow.constant(node.inputs[2]) if given(node, 2) else np.zeros(())
    if weight is None or bias is None:
        return flow.stop(node, "has a weight or bias that is not constant")
    if node.attrs.get("transA", 0) or (labels is not None and labels.axis != 1):
        return flow.stop(node, "does not read channels along axis 1")
    rows = 0 if node.attrs.get("transB", 0) else 1
    if labels is not None:
        flow.slot(node, 1, 1 - rows, "input", labels.ids)
    ids = flow.fresh(weight.shape[rows])
    flow.slot(node, 1, rows, "filter", ids)
    if bias.shape[-1:] == ids.shape and len(ids) > 1:
        flow.slot(node, 2, bias.ndim - 1, "parameter", ids)
    return flow.set_labels(node.outputs[0], 1, ids)


@rule("MatMul")
def matmul(node: gs.Node, flow: Flow) -> None:
    """`side`: which input is the weight. The other axes of x keep their labels; then the columns get none."""
    side = next((i for i in (1, 0) if flow.constant(node.inputs[i]) is not None), None)
    weight = None if side is None else flow.constant(node.inputs[side])
    if side is None or weight is None:
        return flow.stop(node, "multiplies two computed tensors")
    x = node.inputs[1 - side]
    shape, labels = flow.shape(x), flow.of(x)
    if weight.ndim != 2 or shape is None or len(shape) < 2:
        return flow.stop(node, f"has a weight with {weight.ndim} dimensions, or an input of unknown shape")
    axis = len(shape) - 1 if side == 1 else len(shape) - 2
    if labels is not None and labels.axis != axis:
        return flow.set_labels(node.outputs[0], labels.axis, labels.ids)
    if labels is not None:
        flow.slot(node, side, 1 - side, "input", labels.ids)
    ids = flow.fresh(weight.shape[side])
    flow.slot(node, side, side, "filter", ids)
    return flow.set_labels(node.outputs[0], axis, ids)
