"""The plans for one time beside each other: built, and judged by samples that no fit has seen.

1. Blocks alone, as `depth` would do it; filters alone, for half of the time that is to be saved.
2. What these lost, over what was foreseen, gives the scales of the two paths; the saving is divided by them (`paths`).
3. That mixture is built and judged; what it lost puts the scale of the filters right, and the saving is divided anew,
   `MIXTURES` times at most.

The plan that lost least is the answer: it is never worse than blocks alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..budgets.budget import Budget, BudgetUnreachable, unreachable
from ..depth_removal.losses import LossMeter
from ..depth_removal.order import Step
from .paths import LEAST, SavingPath, divided
from .plans import Builder, Plan

MIXTURES = 2
RUINED = 3.0
"""A divergence: what has lost so much has nothing left to lose."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """A plan, and what the network made by it lost."""

    plan: Plan
    loss: float


@dataclass(eq=False)
class Contest:
    """Compares plans.

    Attributes:
        meter: of losses.
        data: that plans are fitted to here; None where nothing is fitted.
        filters: None where they save nothing.
        scales: what is lost over what is foreseen, by blocks and by filters.
        entrants: of the last time asked for, the best first; empty where there was only one plan.
        said: about each time that was asked for, what the plans lost.
    """

    ctx: Context
    builder: Builder
    meter: LossMeter
    data: Data | None
    filters: SavingPath | None
    scales: list[float] = field(default_factory=lambda: [1.0, 1.0])
    entrants: list[Entrant] = field(default_factory=list[Entrant])
    said: dict[float, str] = field(default_factory=dict[float, str])
    _probed: bool = False
    _error: BudgetUnreachable | None = None

    @property
    def start(self) -> float:
        """The share of the time before anything is done."""
        return self.builder.problem.shares(self.builder.problem.start)["latency"]

    def least(self) -> float:
        """A share of the time that is not to be reached with less."""
        saved = 0.0 if self.filters is None else self.filters.saved[-1]
        return max(0.0, self.builder.problem.least()["latency"] - saved)

    def best(self, share: float) -> Plan:
        """The plan for a share of the original's time; nothing is built where there is only one.

        Raises:
            BudgetUnreachable: there is none.
        """
        self.entrants = []
        if share >= self.start:
            return Plan(share)
        steps = self._steps(share)
        alone = Plan(share, steps) if steps and steps[-1].shares["latency"] <= share else None
        if self.filters is None and alone is None:
            raise self._unreachable(share)
        if self.filters is None or not steps:
            return alone or Plan(share, prunes=True)
        if alone is not None:
            self._enter(alone)
        self._compare(share, steps, self.filters)
        if not self.entrants:
            raise self._unreachable(share)
        self.entrants.sort(key=lambda each: each.loss)
        self.said[share] = self._said()
        return self.entrants[0].plan

    def _said(self) -> str:
        """What the plans lost, the best first."""
        best, *others = (f"{each.plan}: the outputs lose {each.loss:.3g}" for each in self.entrants)
        return f"{best}, judged on samples apart; in the same time {'; '.join(others)}" if others else best

    def _unreachable(self, share: float) -> BudgetUnreachable:
        return self._error or unreachable(Budget({"latency": share}), "network", {"latency": self.start})

    def _steps(self, share: float) -> list[Step]:
        """That reach it, or as many as there are before all is lost."""
        problem, limit = self.builder.problem, Budget({"latency": share})
        if not problem.blocks(problem.start):
            return []
        try:
            return problem.within(limit)
        except BudgetUnreachable as error:
            self._error = error
            return problem.as_far_as(limit, RUINED)

    def _compare(self, share: float, steps: Sequence[Step], filters: SavingPath) -> None:
        """Mixtures of blocks and filters, one after the other."""
        wanted, known = self.start - share, {each.plan.key for each in self.entrants}
        self._probe(wanted, filters)
        for _ in range(MIXTURES):
            plan = self._mixture(share, steps, filters)
            if plan.key in known:
                return
            known.add(plan.key)
            loss = self._enter(plan)
            if loss is None:
                return
            self._correct(plan, loss, wanted, filters)

    def _probe(self, wanted: float, filters: SavingPath) -> None:
        """What filters lose, beside what was foreseen."""
        if self._probed:
            return
        saved = min(wanted, filters.saved[-1]) / 2
        loss = self._loss(Plan(self.start - saved, prunes=True))
        self._probed = loss is not None
        if loss is not None:
            self.scales[1] = max(loss, LEAST) / max(filters.at(saved), LEAST)

    def _mixture(self, share: float, steps: Sequence[Step], filters: SavingPath) -> Plan:
        blocks, filters = _of_steps(steps, self.start, self.scales[0]), replace(filters, scale=self.scales[1])
        points = divided([blocks, filters], self.start - share)
        if points is None:
            return Plan(share, steps, True)
        return Plan(share, steps[: points[0]], points[1] > 0)

    def _enter(self, plan: Plan) -> float | None:
        loss = self._loss(plan)
        if loss is not None:
            self.entrants.append(Entrant(plan, loss))
            if not plan.prunes:
                self.scales[0] = max(loss, LEAST) / max(plan.steps[-1].loss, LEAST)
        return loss

    def _loss(self, plan: Plan) -> float | None:
        """Of the network made by a plan; None where it cannot be made."""
        graph = copy_graph(self.builder.problem.graph)
        free = replace(self.ctx, state=self.ctx.state.copy(), held=frozenset())
        with self.ctx.progress(f"trial: {plan}", 1) as advance:
            try:
                self.builder.write(plan, graph, free, self.data)
            except BudgetUnreachable as error:
                self._error = error
                return None
            loss = self.meter.loss(graph)
            advance(f"{loss:.3g}")
        return loss

    def _correct(self, plan: Plan, loss: float, wanted: float, filters: SavingPath) -> None:
        """What the blocks have not lost, the filters have."""
        if not plan.prunes:
            return
        saved = self.start - plan.steps[-1].shares["latency"] if plan.steps else 0.0
        lost = self.scales[0] * (plan.steps[-1].loss if plan.steps else 0.0)
        foreseen = max(filters.at(wanted - saved), LEAST)
        self.scales[1] = max(loss - lost, loss / 10, LEAST) / foreseen


def _of_steps(steps: Sequence[Step], start: float, scale: float) -> SavingPath:
    saved = [0.0, *(start - step.shares["latency"] for step in steps)]
    return SavingPath(saved, [0.0, *(step.loss for step in steps)], scale)
