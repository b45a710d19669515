"""The plans for one time beside each other: built, and judged by samples that no fit has seen.

1. Blocks alone, as `depth` would do it. Where they lose no more than `LITTLE`, nothing else is measured: what loses
   less than that is not worth looking for.
2. Each other way alone, for half of the time that is to be saved.
3. What these lost, over what was foreseen, gives the scales of the paths; the saving is divided by them (`paths`).
4. That mixture is built and judged; what it lost puts the scales right, and the saving is divided anew, at most
   `MIXTURES` times.

The plan that lost least is the answer: it is never worse than blocks alone. Where none of these can be made, each way
alone is tried for all of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf

from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..budgets.budget import Budget, BudgetUnreachable, unreachable
from ..depth_removal.losses import LossMeter
from ..depth_removal.order import Step
from .paths import LEAST, SavingPath, divided
from .plans import Builder, Plan
from .ways import Way

MIXTURES = 2
BLOCKS = "blocks"
RUINED = 0.5
"""A divergence: no quality that somebody asks for is left beyond."""
LITTLE = 0.01
"""A divergence: ResNet-56 without 12 of its blocks, merged, loses 0.0023, and 0.65 to 0.9 % of top-1."""
ENOUGH = "so little that no other way is measured"


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
        find_ways: to make layers smaller; looked for once they are needed.
        scales: what is lost over what is foreseen, by way, and by `BLOCKS`, as far as known.
        entrants: of the last time asked for, the best first; empty where there was only one plan.
        said: about each time that was asked for, what the plans lost.
    """

    ctx: Context
    builder: Builder
    meter: LossMeter
    data: Data | None
    find_ways: Callable[[], Sequence[Way]]
    scales: dict[str, float] = field(default_factory=dict[str, float])
    entrants: list[Entrant] = field(default_factory=list[Entrant])
    said: dict[float, str] = field(default_factory=dict[float, str])
    _ways: Sequence[Way] | None = None
    _error: BudgetUnreachable | None = None

    @property
    def ways(self) -> Sequence[Way]:
        if self._ways is None:
            self._ways = self.find_ways()
        return self._ways

    @cached_property
    def start(self) -> float:
        """The share of the time before anything is done."""
        return self.builder.problem.shares(self.builder.problem.start)["latency"]

    def least(self) -> float:
        """A share of the time that is not to be reached while there is a quality left."""
        steps = self.builder.problem.as_far_as(Budget(cost="latency"), RUINED)
        left = steps[-1].shares["latency"] if steps else self.start
        return max(0.0, left - sum(way.saves for way in self.ways))

    def best(self, share: float) -> Plan:
        """The plan for a share of the original's time; nothing is built where it is known that there is only one.

        Raises:
            BudgetUnreachable: there is none.
        """
        self.entrants = []
        if share >= self.start:
            return Plan()
        steps = self._steps(share)
        sure = [Plan(steps)] if steps and steps[-1].shares["latency"] <= share else []
        if sure and self._ways is not None and not self._ways:
            return sure[0]
        if not sure and (not self.ways or (not steps and len(self.ways) == 1)):
            return self._sizes_alone(share)[0]
        for plan in sure:
            self._enter(plan)
        enough = bool(self.entrants) and self.entrants[0].loss <= LITTLE
        if not enough:
            self._compare(share, steps)
        if not self.entrants:
            for plan in self._sizes_alone(share):
                self._enter(plan)
        if not self.entrants:
            raise self._unreachable(share)
        self.entrants.sort(key=lambda each: each.loss)
        self.said[share] = f"{self._said()}, {ENOUGH}" if enough else self._said()
        return self.entrants[0].plan

    def _said(self) -> str:
        """What the plans lost, the best first."""
        best, *others = (f"{each.plan}; the outputs lose {each.loss:.3g}" for each in self.entrants)
        return "; otherwise ".join([best, *others])

    def _unreachable(self, share: float) -> BudgetUnreachable:
        return self._error or unreachable(Budget({"latency": share}), "network", {"latency": self.start})

    def _steps(self, share: float) -> list[Step]:
        """That reach it, or as many as there are."""
        problem, limit = self.builder.problem, Budget({"latency": share})
        if not problem.blocks(problem.start):
            return []
        try:
            return problem.within(limit)
        except BudgetUnreachable as error:
            self._error = error
            return problem.as_far_as(limit, inf)

    def _sizes_alone(self, share: float) -> list[Plan]:
        if not self.ways:
            raise self._unreachable(share)
        return [Plan(sizes=[(way, share)]) for way in self.ways]

    def _compare(self, share: float, steps: Sequence[Step]) -> None:
        """Mixtures of all ways, one after the other."""
        wanted, known = self.start - share, {each.plan.key for each in self.entrants}
        for way in self.ways:
            self._probe(way, wanted)
        for _ in range(MIXTURES):
            plan, foreseen = self._mixture(share, steps)
            if plan.key in known:
                return
            known.add(plan.key)
            loss = self._enter(plan)
            if loss is None:
                return
            self._correct(plan, loss, foreseen)

    def _probe(self, way: Way, wanted: float) -> None:
        """What a way loses, beside what was foreseen."""
        if way.name in self.scales:
            return
        saved = min(wanted, way.path.saved[-1]) / 2
        loss = self._loss(Plan(sizes=[(way, self.start - saved)]))
        if loss is not None:
            self.scales[way.name] = max(loss, LEAST) / max(way.path.at(saved), LEAST)

    def _mixture(self, share: float, steps: Sequence[Step]) -> tuple[Plan, float]:
        """What loses least, and what layers that get smaller are foreseen to lose of that."""
        paths = [replace(way.path, scale=self.scales.get(way.name, 1.0)) for way in self.ways]
        points = divided([_of_steps(steps, self.start, self.scales.get(BLOCKS, 1.0)), *paths], self.start - share)
        if points is None:
            points = [len(steps), *(len(path.saved) - 1 for path in paths)]
        made, used = steps[: points[0]], [each for each in zip(self.ways, paths, points[1:], strict=True) if each[2]]
        reached = made[-1].shares["latency"] if made else self.start
        sizes: list[tuple[Way, float]] = []
        for way, path, point in used:
            reached -= path.saved[point]
            sizes.append((way, share if way is used[-1][0] else max(reached, share)))
        return Plan(made, sizes), sum(path.at(path.saved[point]) for _, path, point in used)

    def _enter(self, plan: Plan) -> float | None:
        loss = self._loss(plan)
        if loss is not None:
            self.entrants.append(Entrant(plan, loss))
            if not plan.sizes:
                self.scales[BLOCKS] = max(loss, LEAST) / max(plan.steps[-1].loss, LEAST)
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

    def _correct(self, plan: Plan, loss: float, foreseen: float) -> None:
        """What the blocks have not lost, the smaller layers have."""
        lost = self.scales.get(BLOCKS, 1.0) * plan.steps[-1].loss if plan.steps else 0.0
        ratio = max(loss - lost, loss / 10, LEAST) / max(foreseen, LEAST)
        self.scales |= {way.name: ratio * self.scales.get(way.name, 1.0) for way, _ in plan.sizes}


def _of_steps(steps: Sequence[Step], start: float, scale: float) -> SavingPath:
    saved = [0.0, *(start - step.shares["latency"] for step in steps)]
    return SavingPath(saved, [0.0, *(step.loss for step in steps)], scale)
