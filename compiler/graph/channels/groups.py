"""Channel groups: the channels of a network that can be removed, each with everything that has to go along.

    channels = find_channels(graph)
    for group in channels.groups:
        if group.frozen is None:
            score = sum(np.bincount(p.unit, (p.entries() ** 2).sum(1), group.size) for p in group.producers)
            kept[group] = np.argsort(score)[group.size // 2 :]
    remove(channels, kept, Rewriter(graph))

A unit is a set of channels, filters and parameters that live or die together; a group is the units that the same layers
make. A residual stream of 16 channels is one group of 16 units, whatever the number of Convs that add to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..shapes import Shapes, infer_shapes
from ..weights import resolve
from .flow import Flow, Labels, NodeUpdate, Role, Slot
from .rules import walk
from .units import connect, frozen_units, group_units


@dataclass(frozen=True, eq=False)
class Part:
    """What the units of a group own of one axis of one constant.

    Attributes:
        node: the node that reads the constant.
        input: which of its inputs the constant is.
        axis: the axis along which entries are removed.
        role: the entries make the channels ("filter"), read them in a sum over channels ("input"), or belong to them
            alone ("parameter").
        index: (k,) positions along `axis`. For a Conv with g groups and the role "input" they count within a group.
        unit: (k,) the unit that owns each position. A unit can own several positions (Flatten), or none.
    """

    node: gs.Node
    input: int
    axis: int
    role: Role
    index: np.ndarray
    unit: np.ndarray

    def entries(self) -> np.ndarray:
        """(k, rest) the entries as rows."""
        values = resolve(self.node.inputs[self.input])
        assert values is not None
        return np.moveaxis(values, self.axis, 0)[self.index].reshape(len(self.index), -1)


@dataclass(frozen=True, eq=False)
class Group:
    """Units that the same layers make.

    Attributes:
        name: the first layer that makes them.
        size: how many units.
        frozen: why no unit can be removed, or None.
        producers, consumers, parameters: what the units own, by role.
        chain: sentences on what ties the channels, in graph order.
        members: (size,) the number of each unit in the whole network.
    """

    name: str
    size: int
    frozen: str | None
    producers: tuple[Part, ...]
    consumers: tuple[Part, ...]
    parameters: tuple[Part, ...]
    chain: tuple[str, ...]
    members: np.ndarray


@dataclass(frozen=True, eq=False)
class Channels:
    """The groups of a graph, and what their removal has to change. It holds until the graph is edited.

    Attributes:
        groups: in graph order, frozen ones included.
        unit: (labels,) the unit of every label.
        tensors: tensor name -> its labels.
        slots, updates: see `flow`.
    """

    graph: gs.Graph
    groups: tuple[Group, ...]
    unit: np.ndarray
    tensors: dict[str, Labels]
    slots: tuple[Slot, ...]
    updates: tuple[NodeUpdate, ...]


def find_channels(graph: gs.Graph, shapes: Shapes | None = None) -> Channels:
    """The channel groups of the main graph. `shapes`: those of one sample, inferred where not given.

    What the rules do not know freezes a group, with the reason; nothing is raised.
    """
    flow = Flow(graph, infer_shapes(graph) if shapes is None else shapes)
    walk(flow)
    unit = connect(flow.count, flow.ties)
    groups = tuple(_groups(flow, unit))
    return Channels(graph, groups, unit, flow.labels, tuple(flow.slots), tuple(flow.updates))


def _groups(flow: Flow, unit: np.ndarray) -> Iterator[Group]:
    frozen = frozen_units(flow, unit)
    members = group_units(flow, unit, frozen)
    group_of = np.full(int(unit.max(initial=-1)) + 1, -1)
    place = np.zeros_like(group_of)
    for number, units in enumerate(members):
        group_of[units], place[units] = number, np.arange(len(units))
    parts = _by_group(flow.slots, group_of, unit, lambda slot, at: _part(slot, at, place[unit[slot.ids]]))
    notes = _by_group(flow.notes, group_of, unit, lambda note, _: note.text)
    for number, units in enumerate(members):
        own: dict[Role, list[Part]] = {"filter": [], "input": [], "parameter": []}
        for part in parts.get(number, []):
            own[part.role].append(part)
        yield Group(
            name=own["filter"][0].node.name,
            size=len(units),
            frozen=frozen.get(int(units[0])),
            producers=tuple(own["filter"]),
            consumers=tuple(own["input"]),
            parameters=tuple(own["parameter"]),
            chain=tuple(dict.fromkeys(notes.get(number, []))),
            members=units,
        )


def _part(slot: Slot, index: np.ndarray, unit: np.ndarray) -> Part:
    return Part(slot.node, slot.input, slot.axis, slot.role, index, unit[index])


def _by_group(
    items: list[Any], group_of: np.ndarray, unit: np.ndarray, make: Callable[[Any, np.ndarray], Any]
) -> dict[int, list[Any]]:
    """What `make` makes of every slot or note, for each group whose labels it names."""
    found: dict[int, list[Any]] = {}
    for item in items:
        groups = group_of[unit[item.ids]]
        for number in np.unique(groups).tolist():
            if number >= 0:
                found.setdefault(number, []).append(make(item, np.flatnonzero(groups == number)))
    return found
