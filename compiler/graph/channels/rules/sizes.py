"""Vectors of sizes, where a channel count may stand as an entry: the target of a Reshape, the sizes of a Resize.

1. `Shape` of a labelled tensor holds the count; it is followed through the operators that move entries. Any other
   operator that reads it freezes the labels: the count is then part of a computation.
2. Where such a vector says how many channels there will be, its entry is a constant, and gets fixed; or the count of
   labels, which are then tied to those that it has to count; or it freezes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import onnx_graphsurgeon as gs

from ...rewriter import Rewriter
from ...weights import resolve
from ..flow import Flow, KeptLabels, Labels, given, title
from .table import rule

MOVERS = frozenset({"Cast", "Concat", "Gather", "Identity", "Slice", "Squeeze", "Unsqueeze"})
READERS = {"Reshape": 1, "Expand": 1, "Resize": 3}


def follow(node: gs.Node, flow: Flow) -> None:
    """Rule 1 for one node."""
    if node.op == "Shape" and not node.domain:
        labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
        if labels is not None and shape is not None:
            entries = range(len(shape))[slice(node.attrs.get("start", 0), node.attrs.get("end"))]
            _enter(node, {entries.index(labels.axis): labels} if labels.axis in entries else {}, flow)
        return
    read = {index: flow.sizes[t.name] for index, t in enumerate(node.inputs) if t.name in flow.sizes}
    if not read:
        return
    moved = _move(node, read, flow) if node.op in MOVERS and not node.domain else None
    if moved is not None:
        _enter(node, moved, flow)
    elif node.domain or any(index != READERS.get(node.op) for index in read):
        for entries in read.values():
            _freeze(node, entries.values(), flow)


@rule("Shape")
def shape(node: gs.Node, flow: Flow) -> None:
    """See `follow`. Where the shape is unknown, so is what is made of it."""
    if flow.shape(node.inputs[0]) is None:
        flow.stop(node, "reads an unknown shape")


def follow_count(node: gs.Node, index: int, position: int | None, ids: np.ndarray, flow: Flow) -> None:
    """Rule 2 for input number `index` of `node`, whose entry `position` counts `ids`; None where no entry does."""
    entries = flow.sizes.get(node.inputs[index].name, {}) if given(node, index) else {}
    _freeze(node, [labels for place, labels in entries.items() if place != position], flow)
    if position is None or not given(node, index):
        return
    if position not in entries:
        _set_later(node, index, position, ids, flow)
    elif entries[position].ids.shape == ids.shape:
        flow.tie(ids, entries[position].ids, f"{title(node)} takes a number of channels from elsewhere")
    else:
        flow.freeze(ids, f"{title(node)} takes a number of channels from elsewhere")
        _freeze(node, [entries[position]], flow)


def _set_later(node: gs.Node, index: int, position: int, ids: np.ndarray, flow: Flow) -> None:
    place = _find(node, index, position, flow)
    if place is None:
        flow.freeze(ids, f"{title(node)} computes its number of channels")
        return
    holder, slot, offset = place
    value = flow.constant(holder.inputs[slot])
    if value is not None and value.ravel()[offset] != -1:
        flow.add_update(ids, partial(_set_count, holder, slot, offset, ids))


def _enter(node: gs.Node, entries: dict[int, Labels], flow: Flow) -> None:
    if entries:
        flow.sizes[node.outputs[0].name] = entries


def _freeze(node: gs.Node, labels: Iterable[Labels], flow: Flow) -> None:
    for one in labels:
        flow.freeze(one.ids, f"{title(node)} computes with their number")


def _move(node: gs.Node, read: dict[int, dict[int, Labels]], flow: Flow) -> dict[int, Labels] | None:
    """Where the counts stand in the output; None where the rule does not know."""
    if node.op == "Concat":
        return _concat(node, read, flow)
    if list(read) != [0]:
        return None
    if node.op in ("Gather", "Slice"):
        return _pick(node, read[0], flow)
    return read[0]


def _concat(node: gs.Node, read: dict[int, dict[int, Labels]], flow: Flow) -> dict[int, Labels] | None:
    lengths = _lengths(node, flow)
    if lengths is None:
        return None
    starts = np.cumsum([0, *lengths])
    return {int(starts[index]) + place: labels for index, part in read.items() for place, labels in part.items()}


def _pick(node: gs.Node, entries: dict[int, Labels], flow: Flow) -> dict[int, Labels] | None:
    shape = flow.shape(node.inputs[0])
    picks = None if shape is None or len(shape) != 1 else _picked(node, np.arange(shape[0]), flow)
    return None if picks is None else {at: entries[int(p)] for at, p in enumerate(picks) if int(p) in entries}


def _picked(node: gs.Node, places: np.ndarray, flow: Flow) -> np.ndarray | None:
    """The entries that the node takes, in order."""
    if any(not t.is_empty() and flow.constant(t) is None for t in node.inputs[1:]):
        return None
    values = [flow.constant(tensor) for tensor in node.inputs[1:]]
    if node.op == "Gather":
        return None if values[0] is None else places[values[0]].ravel()
    bounds = values if len(node.inputs) > 1 else [np.array(node.attrs[key]) for key in ("starts", "ends")]
    start, end = (int(value.ravel()[0]) for value in bounds[:2] if value is not None)
    step = bounds[3] if len(bounds) > 3 else None
    return places[slice(start, end, 1 if step is None else int(step.ravel()[0]))]


def _lengths(node: gs.Node, flow: Flow) -> list[int] | None:
    shapes = [flow.shape(tensor) for tensor in node.inputs]
    return [shape[0] for shape in shapes if shape] if all(shapes) else None


def _find(node: gs.Node, index: int, position: int, flow: Flow) -> tuple[gs.Node, int, int] | None:
    """The node, input and offset of the constant that holds an entry, through one Concat that nothing else reads."""
    tensor = node.inputs[index]
    if flow.constant(tensor) is not None:
        return node, index, position
    alone = len(tensor.outputs) == 1 and not any(tensor is output for output in flow.graph.outputs)
    joint = tensor.inputs[0] if len(tensor.inputs) == 1 and alone else None
    lengths = None if joint is None or joint.op != "Concat" else _lengths(joint, flow)
    if joint is None or lengths is None:
        return None
    starts = np.cumsum([0, *lengths])
    part = int(np.searchsorted(starts, position, side="right")) - 1
    known = part < len(lengths) and flow.constant(joint.inputs[part]) is not None
    return (joint, part, position - int(starts[part])) if known else None


def set_entry(rewriter: Rewriter, node: gs.Node, index: int, place: int, value: int) -> None:
    """Write one entry of the constant vector that is input number `index` of `node`."""
    values = resolve(node.inputs[index])
    assert values is not None
    values = values.copy()
    values[place] = value
    rewriter.set_weight(node, index, values, node.inputs[index].name)


def _set_count(node: gs.Node, index: int, place: int, ids: np.ndarray, kept: KeptLabels, rewriter: Rewriter) -> None:
    set_entry(rewriter, node, index, place, int(kept(ids).sum()))
