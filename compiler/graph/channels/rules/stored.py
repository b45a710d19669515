"""Weights that several nodes read: what goes for one goes for all, so that the weight stays one.

Along each axis of the weight the labels of its readers are tied, one to one. They are frozen where

1. a reader has no labels along an axis that others have them along: its input has none, or it is no layer;
2. readers see the weight differently, one transposed, say.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...ties import readers, stored_tensor
from ..flow import Flow, Slot, title


def tie_readers(flow: Flow) -> None:
    """After all labels are known."""
    found: dict[int, list[Slot]] = {}
    for slot in flow.slots:
        if slot.role != "parameter" or slot.input == 1:
            found.setdefault(id(stored_tensor(_weight(slot))), []).append(slot)
    for slots in found.values():
        nodes = list(readers(_weight(slots[0])))
        if len(nodes) > 1:
            _tie(flow, slots, nodes)


def _tie(flow: Flow, slots: list[Slot], nodes: list[gs.Node]) -> None:
    if any(_weight(slot) is not _weight(slots[0]) for slot in slots):
        return _freeze(flow, slots, f"{title(slots[0].node)} shares its weight, which others read in another form")
    for axis in {slot.axis for slot in slots}:
        along = [slot for slot in slots if slot.axis == axis]
        labelled = {id(slot.node) for slot in along}
        other = next((node for node in nodes if id(node) not in labelled), None)
        if other is not None:
            _freeze(flow, along, f"{title(other)} reads the same weight, and keeps axis {axis} of it")
            continue
        for slot in along[1:]:
            flow.tie(along[0].ids, slot.ids, f"{title(along[0].node)} and {title(slot.node)} share a weight")
    return None


def _freeze(flow: Flow, slots: list[Slot], why: str) -> None:
    for slot in slots:
        flow.freeze(slot.ids, why)


def _weight(slot: Slot) -> gs.Tensor:
    return slot.node.inputs[slot.input]
