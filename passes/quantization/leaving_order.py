"""In what order layers leave INT8, where the time that one costs depends on which others have left.

Units are layers that share a weight. With the set S of them in float the network takes longer by

    t(S) = sum over u in S of t_u  -  sum over pairs u, v in S of s_uv

    t_u     by u alone
    s_uv    what is saved where v leaves with u, t_u + t_v - t_uv. It is measured of pairs that read one tensor (the
            second needs no copy in INT8 beside the one in float any more), or where one reads what the other writes (a
            depthwise Conv and the 1x1 Conv after it are one kernel in INT8 only).

First leave those that cost no time, then again and again the group that wins most divergence for its time: a unit with
all of its neighbours whose leaving with it costs nothing, and with what costs nothing behind it.

What layers in float cost beside those in INT8, in microseconds as estimated for the Xavier, by the share of the
divergence that is left, one layer at a time by D_l / t_l and in this order:

                   30 %          10 %           5 %            2 %            1 %
    YOLOX-nano       6   -21     -22   -16      13     14     111     64     112     92
    FastestDet      82    70     208   195     267    251     469    379     494    440
    MobileNetV2    209   180     458   428     562    474     565    546     570    548
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.quantizable import is_layer
from ...compiler.pipeline.progress import Progress
from .time_saved import TimeSaved

MOST = 8
"""Layers that meet in a tensor, beyond which their pairs are not measured: each reads what many others write."""
LEAST_TIME = 1e-4
"""That a group is taken to cost, in the units of `TimeSaved`."""
NOTHING = 1e-9
"""Differences of times that are rounding."""
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class UnitTimes:
    """Attributes:
    alone: t_u, (n,).
    shared: s_uv, by unit and neighbour.
    """

    alone: Sequence[float]
    shared: Sequence[dict[int, float]]

    @staticmethod
    def of(units: Sequence[Collection[str]], pairs: Iterable[Pair], saved: TimeSaved, progress: Progress) -> UnitTimes:
        """Pairs do not count where there is no estimate of the whole network."""
        together, shared = saved.together, [dict[int, float]() for _ in units]
        if together is None:
            return UnitTimes([sum(saved.by_layer.get(name, 0.0) for name in unit) for unit in units], shared)
        pairs, alone = list(pairs), list[float]()
        with progress("time that INT8 saves", len(units) + len(pairs)) as advance:
            for unit in units:
                alone.append(together(unit))
                advance()
            for one, other in pairs:
                both = alone[one] + alone[other] - together([*units[one], *units[other]])
                shared[one][other] = shared[other][one] = both
                advance()
        return UnitTimes(alone, shared)

    def added(self, unit: int, others: Set[int]) -> float:
        """How much longer the network takes if a unit leaves, too."""
        return self.alone[unit] - sum(gain for other, gain in self.shared[unit].items() if other in others)


@dataclass(frozen=True)
class Group:
    """Units that leave together, and how much longer the network takes then."""

    units: tuple[int, ...]
    time: float

    def __add__(self, other: Group) -> Group:
        return Group((*self.units, *other.units), self.time + other.time)


@dataclass(frozen=True, eq=False)
class LeavingOrder:
    """Groups in the order in which they leave; a count is of groups that have left.

    Attributes:
        free: how many leave first because they cost no time.
        left: by count, the divergence of the units that are left, as if it added up.
        times: by count, how much longer the network takes, t(S).
    """

    groups: Sequence[Group]
    free: int
    left: np.ndarray
    times: np.ndarray

    def units(self, count: int) -> list[int]:
        return [unit for group in self.groups[:count] for unit in group.units]


def leaving_order(divergences: Sequence[float], times: UnitTimes) -> LeavingOrder:
    """`divergences`: by unit, what INT8 in it costs at the outputs."""
    gone, groups, free = set[int](), list[Group](), 0
    while len(gone) < len(divergences):
        found = [_group(unit, gone, times) for unit in range(len(divergences)) if unit not in gone]
        costless = [group for group in found if group.time <= NOTHING]
        best = max(costless or found, key=lambda group: _worth(group, divergences))
        gone.update(best.units)
        if costless and free < len(groups):
            groups[-1] += best
            continue
        free += bool(costless)
        groups.append(best)
    won = [0.0, *(sum(divergences[unit] for unit in group.units) for group in groups)]
    left = np.cumsum(won[::-1])[::-1]
    return LeavingOrder(groups, free, np.append(left[1:], 0.0), np.cumsum([0.0, *(group.time for group in groups)]))


def neighbours(graph: gs.Graph, units: Sequence[Collection[str]]) -> list[Pair]:
    """Pairs of units, by number, the smaller first: where one reads what the other writes, or both read a tensor."""
    number = {name: index for index, unit in enumerate(units) for name in unit}
    written, readers, found = dict[str, set[int]](), dict[str, set[int]](), set[Pair]()
    for node in graph.nodes:
        before = set[int]().union(*(written.get(tensor.name, ()) for tensor in node.inputs))
        unit = number.get(node.name)
        if unit is not None:
            readers.setdefault(node.inputs[0].name, set()).add(unit)
            found.update((min(unit, other), max(unit, other)) for other in before if len(before) <= MOST)
        after = {unit} if unit is not None else set[int]() if is_layer(node) else before
        written.update((tensor.name, after) for tensor in node.outputs)
    for together in readers.values():
        found.update(combinations(sorted(together), 2) if len(together) <= MOST else ())
    return sorted(pair for pair in found if pair[0] != pair[1])


def _group(unit: int, gone: Set[int], times: UnitTimes) -> Group:
    units, time = [unit], times.added(unit, gone)
    while True:
        out = {*gone, *units}
        around = {other for each in units for other in times.shared[each]} - out
        added = {other: times.added(other, out) for other in sorted(around)}
        best = min(added, key=lambda other: added[other], default=None)
        if best is None or added[best] > NOTHING:
            return Group(tuple(units), time)
        units.append(best)
        time += added[best]


def _worth(group: Group, divergences: Sequence[float]) -> float:
    return sum(divergences[unit] for unit in group.units) / max(group.time, LEAST_TIME)
