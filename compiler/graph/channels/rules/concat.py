"""Operators that put tensors together and take them apart along the channel axis: labels go where the channels go.

1. Concat, also of a tensor with itself; a constant part gets labels of its own, and is sliced.
2. Split; its sizes are written out anew.
3. Tile repeats the labels.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate

import numpy as np
import onnx_graphsurgeon as gs

from ...rewriter import Rewriter
from ..flow import Flow, KeptLabels, given, title
from .table import rule


@rule("Concat")
def concat(node: gs.Node, flow: Flow) -> None:
    shape = flow.shape(node.outputs[0])
    labelled = [labels for tensor in node.inputs if (labels := flow.of(tensor)) is not None]
    if not labelled:
        return None
    if shape is None:
        return flow.stop(node, "has an output of unknown shape")
    axis = node.attrs["axis"] % len(shape)
    if all(labels.axis == axis for labels in labelled):
        return _join(node, flow, axis)
    if len(labelled) < len(node.inputs) or len({labels.axis for labels in labelled}) > 1:
        return flow.stop(node, "meets tensors whose channels stay")
    for labels in labelled[1:]:
        flow.tie(labels.ids, labelled[0].ids, f"{title(node)} joins tensors of the same channels")
    return flow.set_labels(node.outputs[0], labelled[0].axis, labelled[0].ids)


def _join(node: gs.Node, flow: Flow, axis: int) -> None:
    shapes = [flow.shape(tensor) for tensor in node.inputs]
    if any(shape is None for shape in shapes):
        return flow.stop(node, "has an input of unknown shape")
    parts = [_part(node, i, shape[axis], axis, flow) for i, shape in enumerate(shapes) if shape is not None]
    return flow.set_labels(node.outputs[0], axis, np.concatenate(parts))


def _part(node: gs.Node, index: int, size: int, axis: int, flow: Flow) -> np.ndarray:
    tensor = node.inputs[index]
    labels = flow.of(tensor)
    if labels is not None:
        return labels.ids
    ids = flow.fresh(size)
    if flow.constant(tensor) is not None and size > 1:
        flow.slot(node, index, axis, "parameter", ids)
    else:
        flow.freeze(ids, f"the channels of '{tensor.name}' stay")
    return ids


@rule("Split")
def split(node: gs.Node, flow: Flow) -> None:
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    shapes = [flow.shape(tensor) for tensor in node.outputs]
    if labels is None:
        return None
    sizes = [part for part in shapes if part is not None]
    if shape is None or len(sizes) < len(shapes) or (given(node, 1) and flow.constant(node.inputs[1]) is None):
        return flow.stop(node, "has computed sizes")
    axis = int(node.attrs.get("axis", 0)) % len(shape)
    if axis != labels.axis:
        for tensor in node.outputs:
            flow.set_labels(tensor, labels.axis, labels.ids)
        return None
    ends = list(accumulate(part[axis] for part in sizes))
    parts = [labels.ids[end - part[axis] : end] for end, part in zip(ends, sizes, strict=True)]
    for tensor, ids in zip(node.outputs, parts, strict=True):
        flow.set_labels(tensor, axis, ids)
    return flow.add_update(labels.ids, partial(_set_sizes, node, parts, flow.graph.opset))


def _set_sizes(node: gs.Node, parts: list[np.ndarray], opset: int, kept: KeptLabels, rewriter: Rewriter) -> None:
    sizes = [int(kept(ids).sum()) for ids in parts]
    node.attrs.pop("num_outputs", None)
    if opset < 13:
        node.attrs["split"] = sizes
    else:
        rewriter.set_weight(node, 1, np.array(sizes, np.int64), f"{node.name}.sizes")


@rule("Tile")
def tile(node: gs.Node, flow: Flow) -> None:
    labels = flow.of(node.inputs[0])
    if labels is None:
        return None
    repeats = flow.constant(node.inputs[1])
    if repeats is None or flow.graph.opset < 6:
        return flow.stop(node, "has computed repeats")
    return flow.set_labels(node.outputs[0], labels.axis, np.tile(labels.ids, int(repeats[labels.axis])))
