"""What a network costs as a function of how many units of each candidate are gone, in every unit of a budget.

    cost(Conv) = P * (filters left) * (channels left) * prod(kernel)          P: output positions

so the costs of groups that share a Conv multiply, and what the removal of one saves depends on how much of the others
is left. Everything that is not a Conv costs what it did, and a Conv that keeps no unit of a group the time of one
channel, which stays (`graph.channels.removal`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import ConvWorkload, LatencyModel, conv_workload
from ...compiler.graph.channels import Channels, Group
from ...compiler.graph.convs import Conv, find_convs
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.ties import stored_tensor

PRICED = ("macs", "params", "bytes", "latency")
CostCurves = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class PrunableConv:
    """A Conv.

    Attributes:
        workload: what it costs in full.
        entries: along the two channel axes of its weight.
        whole_groups: whether its groups go as a whole.
        stores: whether it is the first that reads its weight, which is stored once.
    """

    workload: ConvWorkload
    entries: tuple[int, int]
    whole_groups: bool
    stores: bool

    def after(self, filters: int, channels: int) -> ConvWorkload:
        """The workload with so many entries along the two channel axes of the weight."""
        group = self.workload.group
        if self.whole_groups:
            group = max(1, group * filters // self.entries[0])
        return replace(self.workload, channels_in=channels * group, channels_out=filters, group=group)


class PruningCostModel:
    """Costs of the Convs of a graph.

    Args:
        orders: the units of each candidate in the order of their removal.
        sizes: how many of each may be gone, from 0 on; others have the time of the one before.
        units: the costs to keep, of `PRICED`.
    """

    def __init__(
        self,
        graph: gs.Graph,
        channels: Channels,
        shapes: Shapes,
        orders: Mapping[Group, np.ndarray],
        sizes: Sequence[np.ndarray],
        units: Sequence[str],
        latency_model: LatencyModel | None = None,
    ):
        self.units, self._latency_model = tuple(units), latency_model
        whole = {id(slot.node) for slot in channels.slots if slot.role == "parameter" and slot.input == 1}
        convs = list(find_convs(graph))
        weights = [id(stored_tensor(conv.node.inputs[1])) for conv in convs]
        self._lines = [
            PrunableConv(
                conv_workload(conv, shapes),
                (conv.weight.shape[0], conv.weight.shape[1]),
                id(conv.node) in whole,
                weights.index(weight) == place,
            )
            for place, (conv, weight) in enumerate(zip(convs, weights, strict=True))
        ]
        self._left = np.array([line.entries for line in self._lines]).reshape(-1, 2)
        self._cuts = _cuts(channels, convs, list(orders.values()), list(orders))
        self._steps = [len(order) + 1 for order in orders.values()]
        self._sizes = sizes
        self._now: list[dict[str, float] | None] = [None] * len(convs)
        self.gone = [0] * len(orders)

    def curve(self, candidate: int) -> CostCurves:
        """Costs (size + 1,) of the Convs that the candidate touches, with 0, 1, ... of its units gone.

        Zeros where it touches none: channels between other layers, a ConvTranspose and a Gemm say.
        """
        cuts = self._cuts[candidate]
        lines = sorted({line for line, _ in cuts})
        left = np.repeat(self._left[lines, :, None], self._steps[candidate], axis=2)
        for (line, axis), cut in cuts.items():
            left[lines.index(line), axis] += cut[self.gone[candidate]] - cut
        return self._costs([self._lines[line] for line in lines], left, self._sizes[candidate])

    def move(self, candidate: int, gone: int) -> None:
        """From now on so many units of the candidate are gone."""
        for (line, axis), cut in self._cuts[candidate].items():
            if cut[self.gone[candidate]] != cut[gone]:
                self._left[line, axis] += cut[self.gone[candidate]] - cut[gone]
                self._now[line] = None
        self.gone[candidate] = gone

    def move_all(self, gone: Sequence[int]) -> None:
        """From now on so many units of each candidate are gone."""
        for candidate, count in enumerate(gone):
            self.move(candidate, count)

    def total(self) -> dict[str, float]:
        """Of all Convs, as they stand."""
        found = [self._of_line(line) if known is None else known for line, known in enumerate(self._now)]
        self._now = [*found]
        return {unit: sum(costs[unit] for costs in found) for unit in self.units}

    def neighbours(self, candidate: int) -> list[int]:
        """The candidates that share a Conv with this one, itself included."""
        own = {line for line, _ in self._cuts[candidate]}
        return [other for other, cuts in enumerate(self._cuts) if own & {line for line, _ in cuts}]

    def _of_line(self, line: int) -> dict[str, float]:
        """Of one Conv, as it stands."""
        costs = self._costs([self._lines[line]], self._left[line, None, :, None], np.zeros(1, int))
        return {unit: float(values[0]) for unit, values in costs.items()}

    def _costs(self, lines: Sequence[PrunableConv], left: np.ndarray, sizes: np.ndarray) -> CostCurves:
        """left (lines, 2, steps) -> costs (steps,); times are asked for at `sizes` alone."""
        table = {unit: np.zeros(left.shape[2]) for unit in self.units}
        for line, (filters, channels) in zip(lines, left, strict=True):
            weights = filters * channels * np.prod(line.workload.kernel)
            params = line.stores * (weights + line.workload.bias * filters)
            exact = {"params": params, "bytes": params * line.workload.itemsize}
            if line.workload.positions_out is not None:
                exact["macs"] = line.workload.positions_out * weights
            for unit, values in table.items():
                values += exact[unit] if unit in exact else self._latency(line, filters, channels, sizes)
        return table

    def _latency(self, line: PrunableConv, filters: np.ndarray, channels: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        assert self._latency_model is not None
        pairs = zip(filters[sizes].tolist(), channels[sizes].tolist(), strict=True)
        times = np.array([self._latency_model.conv(line.after(max(f, 1), max(c, 1))) for f, c in pairs])
        return times[np.searchsorted(sizes, np.arange(len(filters)), side="right") - 1]


def _cuts(
    channels: Channels, convs: Sequence[Conv], orders: Sequence[np.ndarray], groups: Sequence[Group]
) -> list[dict[tuple[int, int], np.ndarray]]:
    """By candidate and (Conv, axis of its weight): entries gone (size + 1,) with 0, 1, ... units gone."""
    lines = {id(conv.node): index for index, conv in enumerate(convs)}
    slots = [slot for slot in channels.slots if slot.input == 1 and id(slot.node) in lines and slot.axis < 2]
    found: list[dict[tuple[int, int], np.ndarray]] = []
    for group, order in zip(groups, orders, strict=True):
        place = np.full(int(channels.unit.max(initial=-1)) + 1, -1)
        place[group.members[order]] = np.arange(group.size)
        cuts: dict[tuple[int, int], np.ndarray] = {}
        for slot in slots:
            places = place[channels.unit[slot.ids]]
            counts = np.bincount(places[places >= 0], minlength=group.size)
            if counts.any():
                key = (lines[id(slot.node)], slot.axis)
                cuts[key] = cuts.get(key, 0) + np.concatenate([[0], np.cumsum(counts)])
        found.append(cuts)
    return found
