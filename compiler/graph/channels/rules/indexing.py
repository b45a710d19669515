"""Operators that pick channels, or add some: Slice, Gather, Pad.

1. Slice; a run of channels stays a run, with new bounds. Channels taken with a step become a Gather.
2. Gather; its indices are counted anew. Channels picked by an index that is not a list of channels stay.
3. Pad; each channel added has a label, so that it goes together with the channel that it is added to later. A crop
   counts what is left of the cropped channels.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_graphsurgeon as gs

from ...rewriter import Rewriter
from ..flow import Flow, KeptLabels, Labels, given, title
from .sizes import set_entry
from .table import rule


@rule("Slice")
def slices(node: gs.Node, flow: Flow) -> None:
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    if labels is None:
        return None
    bounds = _bounds(node, flow)
    if bounds is None or shape is None:
        return flow.stop(node, "has computed bounds")
    starts, ends, axes, steps = bounds
    place = next((i for i, axis in enumerate(axes) if axis % len(shape) == labels.axis), None)
    if place is None:
        return flow.set_labels(node.outputs[0], labels.axis, labels.ids)
    picks = np.arange(len(labels.ids))[starts[place] : ends[place] : steps[place]]
    if steps[place] == 1 and len(picks):
        apply = partial(_set_bounds, node, labels, place, picks, flow.graph.opset)
    elif len(axes) == 1 and len(picks):
        apply = partial(_gather_instead, node, labels, picks)
    else:
        return flow.stop(node, "takes channels with a step, and slices other axes too")
    flow.add_update(labels.ids, apply)
    return flow.set_labels(node.outputs[0], labels.axis, labels.ids[picks])


def _bounds(node: gs.Node, flow: Flow) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """starts, ends, axes, steps."""
    if flow.graph.opset < 10:
        starts, ends = node.attrs["starts"], node.attrs["ends"]
        return starts, ends, node.attrs.get("axes") or list(range(len(starts))), [1] * len(starts)
    found = [flow.constant(node.inputs[i]) if given(node, i) else np.array([]) for i in range(1, 5)]
    values = [[int(v) for v in array.ravel()] for array in found if array is not None]
    if len(values) < 4:
        return None
    count = len(values[0])
    return values[0], values[1], values[2] or list(range(count)), values[3] or [1] * count


def _set_bounds(
    node: gs.Node, labels: Labels, place: int, picks: np.ndarray, opset: int, kept: KeptLabels, rewriter: Rewriter
) -> None:
    mask = kept(labels.ids)
    start = int(mask[: picks[0]].sum())
    for index, key, bound in ((1, "starts", start), (2, "ends", start + int(mask[picks].sum()))):
        if opset < 10:
            node.attrs[key] = [bound if i == place else old for i, old in enumerate(node.attrs[key])]
        else:
            set_entry(rewriter, node, index, place, bound)


def _gather_instead(node: gs.Node, labels: Labels, picks: np.ndarray, kept: KeptLabels, rewriter: Rewriter) -> None:
    mask = kept(labels.ids)
    indices = (np.cumsum(mask) - 1)[picks[mask[picks]]]
    source = rewriter.constant(f"{node.name}.indices", indices.astype(np.int64))
    attrs = {"axis": labels.axis}
    rewriter.replace(node, [rewriter.node("Gather", [node.inputs[0], source], [], node.name, attrs, node.name)])


@rule("Gather")
def gather(node: gs.Node, flow: Flow) -> None:
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    picks = flow.shape(node.inputs[1])
    if labels is None:
        return None
    if shape is None or picks is None:
        return flow.stop(node, "has an input of unknown shape")
    axis = node.attrs.get("axis", 0) % len(shape)
    if axis != labels.axis:
        return flow.set_labels(node.outputs[0], labels.axis + (len(picks) - 1) * (axis < labels.axis), labels.ids)
    indices = flow.constant(node.inputs[1])
    if indices is None:
        return flow.stop(node, "has computed indices")
    return _pick(node, flow, labels, indices)


def _pick(node: gs.Node, flow: Flow, labels: Labels, indices: np.ndarray) -> None:
    taken = labels.ids[indices]
    if indices.ndim == 1:
        flow.set_labels(node.outputs[0], labels.axis, taken)
    else:
        flow.freeze(taken.ravel(), f"{title(node)} picks single channels")
    flow.add_update(labels.ids, partial(_set_indices, node, labels, indices))


def _set_indices(node: gs.Node, labels: Labels, indices: np.ndarray, kept: KeptLabels, rewriter: Rewriter) -> None:
    mask = kept(labels.ids)
    if indices.ndim == 1:
        indices = indices[mask[indices]]
    values = (np.cumsum(mask) - 1)[indices].astype(indices.dtype)
    rewriter.set_weight(node, 1, values, node.inputs[1].name)


@rule("Pad")
def pad(node: gs.Node, flow: Flow) -> None:
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    if labels is None:
        return None
    values = flow.constant(node.inputs[1]) if given(node, 1) else np.array(node.attrs.get("pads", []))
    axes = flow.constant(node.inputs[3]) if given(node, 3) else np.arange(len(shape or ()))
    if values is None or axes is None or shape is None or values.size != 2 * axes.size:
        return flow.stop(node, "has computed amounts")
    place = next((i for i, axis in enumerate(axes) if axis % len(shape) == labels.axis), None)
    if place is None:
        return flow.set_labels(node.outputs[0], labels.axis, labels.ids)
    before, after = int(values[place]), int(values[place + len(axes)])
    if (before or after) and node.attrs.get("mode", "constant") != "constant":
        return flow.stop(node, f"pads channels by {node.attrs['mode']}")
    return _pad(node, flow, labels, (place, before), (place + len(axes), after))


def _pad(node: gs.Node, flow: Flow, labels: Labels, first: tuple[int, int], last: tuple[int, int]) -> None:
    """`first`, `last`: place in the vector of pads, and amount."""
    ids, (_, before), (_, after) = labels.ids, first, last
    front, back = flow.fresh(max(before, 0)), flow.fresh(max(after, 0))
    inner = ids[max(-before, 0) : len(ids) - max(-after, 0)]
    flow.set_labels(node.outputs[0], labels.axis, np.concatenate([front, inner, back]))
    cut_front, cut_back = ids[: max(-before, 0)], ids[len(ids) - max(-after, 0) :]
    for (place, amount), counted in ((first, [cut_front, front]), (last, [cut_back, back])):
        flow.add_update(
            counted[amount > 0], partial(_set_amount, node, place, int(np.sign(amount)), counted[amount > 0])
        )


def _set_amount(
    node: gs.Node, place: int, sign: int, counted: np.ndarray, kept: KeptLabels, rewriter: Rewriter
) -> None:
    amount = sign * int(kept(counted).sum())
    if given(node, 1):
        set_entry(rewriter, node, 1, place, amount)
    else:
        node.attrs["pads"] = [amount if i == place else old for i, old in enumerate(node.attrs["pads"])]
