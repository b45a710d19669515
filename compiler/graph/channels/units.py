"""From labels to units and groups.

1. A unit is a set of labels that the ties connect.
2. A unit is frozen where one of its labels is, or where it is all that a tensor has: no tensor may become empty.
3. Units that the same layer makes (a slot with the role "filter") belong to one group; frozen ones to one beside it.
4. Units that no layer makes (channels added by a Pad that lead nowhere) are in no group, and stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .flow import Flow, Note


def connect(count: int, edges: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The component of each of `count` nodes, numbered from 0."""
    pairs = list(edges)
    first = np.concatenate([np.zeros(0, np.int64), *(a for a, _ in pairs)])
    second = np.concatenate([np.zeros(0, np.int64), *(b for _, b in pairs)])
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1] if count else np.zeros(0, np.int64)


def frozen_units(flow: Flow, unit: np.ndarray) -> dict[int, str]:
    """Unit -> why it is frozen, the first reason found."""
    why: dict[int, str] = {}
    for note in (*flow.frozen, *_alone(flow, unit)):
        for one in np.unique(unit[note.ids]).tolist():
            why.setdefault(one, note.text)
    return why


def _alone(flow: Flow, unit: np.ndarray) -> Iterator[Note]:
    for name, labels in flow.labels.items():
        units = unit[labels.ids]
        if (units == units[0]).all():
            yield Note(labels.ids[:1], f"all channels of '{name}' live or die together")


def group_units(flow: Flow, unit: np.ndarray, frozen: Iterable[int]) -> list[np.ndarray]:
    """The units of each group, in the order of the filters that make them."""
    made = [unit[slot.ids] for slot in flow.slots if slot.role == "filter"]
    count = int(unit.max(initial=-1)) + 1
    family = connect(count, ((np.broadcast_to(units[:1], units.shape), units) for units in made))
    stays = np.zeros(count, bool)
    stays[list(frozen)] = True
    ordered = np.concatenate([np.zeros(0, np.int64), *made])
    _, first = np.unique(ordered, return_index=True)
    ordered = ordered[np.sort(first)]
    keys = 2 * family[ordered] + stays[ordered]
    _, first = np.unique(keys, return_index=True)
    return [ordered[keys == keys[at]] for at in np.sort(first)]
