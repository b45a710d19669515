"""A graph with its candidates and what it costs, as a function of how many units are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.graph.channels import Channels, find_channels
from ...compiler.graph.shapes import Shapes, infer_shapes
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...runtime.shapes import network_shapes
from ..budgets.budget import Budget, CostShares
from ..budgets.costs import CostEvaluator, Costs
from ..budgets.file_size import original_bytes
from .candidates import PruningCandidate, PruningCriteria, prunable_groups, survey
from .cost_model import PruningCostModel
from .division import divide, of_loss, of_share


@dataclass(frozen=True, eq=False)
class PruningProblem:
    """What a pass prunes.

    Attributes:
        candidates: in graph order.
        skipped: a decision for every layer whose channels stay.
        cost_model: costs of the Convs.
        costs: of the network, as shares of the original's; what is no Conv is fixed.
    """

    graph: gs.Graph
    ctx: Context
    shapes: Shapes
    candidates: Sequence[PruningCandidate]
    skipped: list[Decision]
    cost_model: PruningCostModel
    costs: CostShares

    @staticmethod
    def of(
        graph: gs.Graph,
        ctx: Context,
        criteria: PruningCriteria,
        units: Sequence[str],
        latency_model: LatencyModel | None,
    ) -> PruningProblem:
        """Survey a graph; `units` are the costs to look at."""
        timed, (channels, shapes, counted) = "latency" in units, found_channels(graph, ctx)
        groups, skipped = prunable_groups(channels, ctx, criteria)
        candidates = survey(graph, ctx, channels, groups, counted, criteria)
        orders = {candidate.group: candidate.order for candidate in candidates}
        network = CostEvaluator(counted, latency_model, timed).network(graph)
        units = [unit for unit in units if unit in network]
        sizes = [candidate.sizes for candidate in candidates]
        cost_model = PruningCostModel(graph, channels, counted, orders, sizes, units, latency_model)
        convs = cost_model.total()
        fixed = {unit: network[unit] - convs[unit] for unit in units}
        before = ctx.original or graph
        original = CostEvaluator(network_shapes(before, ctx), latency_model, timed).network(before)
        original["bytes"] = original_bytes(ctx, before)
        return PruningProblem(graph, ctx, shapes, candidates, skipped, cost_model, CostShares(fixed, original))

    def divide(self, division: str, budget: Budget) -> list[int]:
        """Units gone, per candidate."""
        if budget.rule == "share":
            return self.move(of_share(self.candidates, budget.value))
        if budget.rule == "energy":
            return self.move(of_loss(self.candidates, 1 - budget.value))
        return divide(division, budget, self.candidates, self.cost_model, self.costs)

    def least(self, unit: str) -> float:
        """The share of a cost that is left with as few units as may be."""
        self.move([int(each.sizes[-1]) for each in self.candidates])
        share = self.shares()[unit]
        self.move([0] * len(self.candidates))
        return share

    def kept(self, gone: Sequence[int]) -> dict[str, np.ndarray]:
        pairs = zip(self.candidates, gone, strict=True)
        return {candidate.name: candidate.kept(count) for candidate, count in pairs}

    def shares(self) -> Costs:
        """What is left of the original's costs."""
        return self.costs.of(self.cost_model.total())

    def saved(self, gone: Sequence[int], unit: str) -> list[float]:
        """By candidate, the share of the original's cost that goes with its units, the others as they stand; 0 where
        it is not counted."""
        if unit not in self.cost_model.units:
            return [0.0] * len(gone)
        self.cost_model.move_all(gone)
        curves = (self.cost_model.curve(index)[unit] for index in range(len(gone)))
        shares = (
            (costs[0] - costs[count]) / self.costs.original[unit] for costs, count in zip(curves, gone, strict=True)
        )
        return [float(share) for share in shares]

    def move(self, gone: list[int]) -> list[int]:
        """From now on so many units of each candidate are gone, in the cost_model."""
        self.cost_model.move_all(gone)
        return gone


def found_channels(graph: gs.Graph, ctx: Context) -> tuple[Channels, Shapes, Shapes]:
    """Which channels live or die together; the shapes by which they were followed, and those for costs."""
    counted = network_shapes(graph, ctx)
    shapes = {**infer_shapes(graph, ctx.sample_shapes()), **{n: s for n, s in counted.items() if s and all(s)}}
    return find_channels(graph, shapes), shapes, counted
