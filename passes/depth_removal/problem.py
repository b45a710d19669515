"""A graph, how it can be made shorter and what it costs, and how far that goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.graph.blocks import Block, find_blocks
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.weights import stored_tensors
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...runtime.shapes import network_shapes
from ..budgets.budget import Budget, CostShares, unreachable
from ..budgets.costs import CostEvaluator, Costs
from ..budgets.file_size import original_bytes
from .gaps import Change, Gaps, closed
from .losses import LossMeter
from .order import Savings, Step, Trials, greedy_steps

SPARE = 0.1
SINGLE = "a single layer: layers=true lets it go"


@dataclass(eq=False)
class DepthProblem:
    """What a pass removes blocks of.

    Attributes:
        graph: which stays as it is.
        shapes: of its tensors, those that are known.
        layers: blocks of a single layer may go, too.
        merge: pairs of blocks may become one.
        costs: of networks made of it.
        original: what the model that entered the pipeline costs.
        trials: what changes lose; needed before steps are taken.
        steps: those taken so far.
        strength: of the repair, once it is known.
    """

    graph: gs.Graph
    ctx: Context
    shapes: Shapes
    layers: bool
    merge: bool
    costs: CostEvaluator
    original: Costs
    trials: Trials | None = None
    steps: list[Step] = field(default_factory=list[Step])
    strength: float | None = None
    _walk: Iterator[Step] | None = None

    @staticmethod
    def of(
        graph: gs.Graph, ctx: Context, layers: bool, merge: bool, latency_model: LatencyModel | None
    ) -> DepthProblem:
        """`latency_model`: of costs, where the network's latency can be counted."""
        shapes, before = network_shapes(graph, ctx), ctx.original or graph
        timed = latency_model is not None
        original = CostEvaluator(network_shapes(before, ctx), latency_model, timed).network(before)
        original["bytes"] = original_bytes(ctx, before)
        costs = CostEvaluator(shapes, latency_model, timed)
        return DepthProblem(graph, ctx, shapes, layers, merge, costs, original)

    @property
    def meter(self) -> LossMeter | None:
        return None if self.trials is None else self.trials.meter

    @property
    def start(self) -> Gaps:
        return Gaps(copy_graph(self.graph), dict(self.ctx.origins))

    def blocks(self, gaps: Gaps) -> list[Block]:
        """That may go."""
        found = find_blocks(gaps.graph, gaps.shapes(self.shapes)).found
        return [block for block in found if self._reason(block) is None]

    def changes(self, gaps: Gaps) -> list[Change]:
        """That may be made."""
        blocks = self.blocks(gaps)
        return [*blocks, *(gaps.pairs(blocks) if self.merge else [])]

    def skipped(self) -> list[Decision]:
        """What stays, and why."""
        blocks = find_blocks(self.graph, self.shapes)
        reasons = {block.name: reason for block in blocks.found if (reason := self._reason(block))}
        if len(reasons) < len(blocks.found):
            reasons = {name: reason for name, reason in reasons.items() if reason != SINGLE}
        return [Decision(name, "skipped", reason) for name, reason in {**blocks.refused, **reasons}.items()]

    def shares(self, gaps: Gaps) -> Costs:
        """What is left of the original's costs."""
        graph = closed(gaps)
        weights = {name: tuple(each.shape) for name, each in stored_tensors(graph).items()}
        costs = replace(self.costs, shapes={**gaps.shapes(self.costs.shapes), **weights}).network(graph)
        return CostShares(dict.fromkeys(costs, 0.0), self.original).of(
            {unit: cost for unit, cost in costs.items() if unit in self.original}
        )

    def within(self, budget: Budget) -> list[Step]:
        """The steps that a budget takes; `BudgetUnreachable` where all blocks together are too few."""
        if budget.rule == "blocks":
            return self._first(budget)
        at_hand = self.shares(self.start)
        if _kept(budget, at_hand):
            return []
        self._check(budget)
        found = self._reached(budget, None)
        if not found:
            raise unreachable(budget, "network without blocks", {unit: at_hand[unit] for unit in budget.limits})
        if len(found) == 1 or not _overshoots(budget, at_hand, found[-1].shares):
            return found
        fewer = self._reached(budget, len(found) - 1)
        return fewer if fewer and fewer[-1].loss < found[-1].loss else found

    def as_far_as(self, budget: Budget, worst: float) -> list[Step]:
        """The steps until limits are kept, where there are some, more than `worst` is lost, or none saves anything."""
        steps: list[Step] = []
        for step in self._steps(budget, None):
            steps.append(step)
            if step.loss > worst or (budget.limits and _kept(budget, step.shares)):
                break
        return steps

    def step(self, number: int, budget: Budget) -> Step | None:
        """The step of that number, 1 for the first; None where no block is left. The budget is always the same."""
        if self._walk is None:
            self._walk = self._steps(budget, None)
        while len(self.steps) < number:
            found = next(self._walk, None)
            if found is None:
                return None
            self.steps.append(found)
        return self.steps[number - 1]

    def _steps(self, budget: Budget, most: int | None) -> Iterator[Step]:
        assert self.trials is not None
        savings = Savings(budget.limits, "" if budget.rule == "blocks" else budget.cost)
        return greedy_steps(self.start, self.trials, savings, most)

    def _reached(self, budget: Budget, most: int | None) -> list[Step]:
        """The steps until limits are kept; none where they are not."""
        steps: list[Step] = []
        for step in self._steps(budget, most):
            steps.append(step)
            if _kept(budget, step.shares):
                return steps
        return []

    def after(self, changes: Sequence[Change]) -> Gaps:
        """A copy of the graph with the changes, the weights as stored. What builds on a change that is left out is
        left out, too."""
        gaps = self.start
        for change in changes:
            found = next((each for each in self.changes(gaps) if each.name == change.name), None)
            if found is not None:
                gaps.make(found)
        return gaps

    def least(self) -> Costs:
        """The shares that are left without any of the blocks."""
        gaps = self.start
        while blocks := self.blocks(gaps):
            gaps.make(max(blocks, key=lambda block: len(block.nodes)))
        return self.shares(gaps)

    def _first(self, budget: Budget) -> list[Step]:
        count = int(budget.value)
        if self.step(count, budget) is None:
            raise unreachable(replace(budget), f"number of blocks left; there are {len(self.steps)} that can go", {})
        return self.steps[:count]

    def _check(self, budget: Budget) -> None:
        """Before anything is measured."""
        least = self.least()
        if not _kept(budget, least):
            raise unreachable(budget, "network without blocks", {unit: least[unit] for unit in budget.limits})

    def _reason(self, block: Block) -> str | None:
        """Why a block is not to go."""
        scope = next(filter(None, map(self.ctx.unselected, block.layers)), None)
        if scope is not None:
            return scope
        if len(block.layers) < 2 and not self.layers:
            return SINGLE
        return None


def _overshoots(budget: Budget, before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Whether more is saved of everything than is asked for, by the share `SPARE`."""
    wanted = {unit: before[unit] - limit for unit, limit in budget.limits.items()}
    return all(before[unit] - after[unit] > (1 + SPARE) * need for unit, need in wanted.items())


def _kept(budget: Budget, shares: Mapping[str, float]) -> bool:
    return all(shares[unit] <= limit * (1 + 1e-12) for unit, limit in budget.limits.items())
