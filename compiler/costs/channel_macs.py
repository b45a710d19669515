"""Multiply-accumulates (MACs) as a function of the units that stay.

    MACs(layer) = P * product over the axes of its weight of the entries that stay
    P: positions of the output for one sample (ConvTranspose: of the input)

With all units a Conv has those of its `ConvWorkload`; here its labels, not counts, say what stays of each axis.

A unit that owns both filters and channels of a layer saves their overlap once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from ..graph.channels import Channels, Group, Selection
from ..graph.channels.flow import Slot
from ..graph.channels.selection import stays
from ..graph.shapes import Shapes
from ..graph.weights import resolve
from .workload import positions


@dataclass(frozen=True, eq=False)
class LayerMacs:
    """MACs per combination of entries, and for each axis that channels live on the labels of its entries."""

    node: gs.Node
    rest: int
    axes: tuple[np.ndarray, ...]


class ChannelMacs:
    """The MACs of the layers that `ops` names, as far as their weights are constant.

    Where the positions of one of them are not known, weights are counted in the place of MACs, in all of them.
    """

    def __init__(self, channels: Channels, shapes: Shapes, ops: Collection[str] = ("Conv",)):
        self._channels = channels
        slots: dict[tuple[int, int], list[Slot]] = {}
        for slot in channels.slots:
            if slot.node.op in ops and (slot.node.op == "MatMul" or slot.input == 1):
                slots.setdefault((id(slot.node), slot.input), []).append(slot)
        found = [_positions(node=own[0].node, weight=own[0].input, shapes=shapes) for own in slots.values()]
        known = [each for each in found if each is not None]
        counts = known if len(known) == len(found) else [1] * len(found)
        self.layers = [_layer(own, count) for own, count in zip(slots.values(), counts, strict=True)]

    def total(self, kept: Selection | None = None) -> int:
        """MACs of one sample with the units in `kept`; groups that are not named stay whole."""
        keep = stays(self._channels, kept or {})
        return sum(layer.rest * prod(int(keep(ids).sum()) for ids in layer.axes) for layer in self.layers)

    def saved(self, group: Group) -> np.ndarray:
        """(size,) MACs that are saved where one unit alone is removed from the whole network."""
        place = np.full(int(self._channels.unit.max(initial=-1)) + 1, group.size)
        place[group.members] = np.arange(group.size)
        saved = np.zeros(group.size, np.int64)
        for layer in self.layers:
            counts = [np.bincount(place[self._channels.unit[ids]], minlength=group.size + 1) for ids in layer.axes]
            full = prod(len(ids) for ids in layer.axes)
            left = np.prod([len(ids) - n[:-1] for ids, n in zip(layer.axes, counts, strict=True)], axis=0)
            saved += layer.rest * (full - left)
        return saved


def _layer(slots: list[Slot], positions: int) -> LayerMacs:
    node, index = slots[0].node, slots[0].input
    weight = resolve(node.inputs[index])
    assert weight is not None
    axes = tuple(slot.ids for slot in slots)
    return LayerMacs(node, weight.size // prod(map(len, axes)) * positions, axes)


def _positions(node: gs.Node, weight: int, shapes: Shapes) -> int | None:
    """Outputs of one sample for one filter; None where the shape is not known."""
    if node.op != "MatMul":
        return positions(node.inputs[0] if node.op == "ConvTranspose" else node.outputs[0], shapes)
    if node.outputs[0].name not in shapes:
        return None
    shape = shapes[node.outputs[0].name]
    return prod(shape[1:-1] if weight == 1 else (*shape[1:-2], *shape[-1:]))
