"""Pruning as far as held-out samples allow: all groups together, and in the automated loop each on its own.

All together, the division fixes how the units of a share of the cost are divided, and the share is searched for
(`budgets.search`). The cost is the time on the target, or another one (`Budget.cost`).

The loop starts there. Then, again and again, the group whose next step (at first an eighth of its units) loses least
per cost is widened by it; the whole network is pruned, repaired and judged on the samples held out. A step that breaks
the bound is taken back, and the group's next one is half as long. The loop ends when a single unit is too much for
every group, or after `TRIALS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.data import Data
from ..budgets.budget import Budget
from ..budgets.search import BudgetSearch, SearchOutcome, TrialOutcome, search_smallest
from .division import TINY
from .problem import PruningProblem
from .repair import Repair, prune

TRIALS = 32
SHARE = 8
UnitsJudge = Callable[[list[int]], TrialOutcome]


def search_units(
    problem: PruningProblem, search: BudgetSearch, division: str, repair: Repair, each: bool
) -> tuple[list[int] | None, SearchOutcome]:
    """Units gone per candidate, None where nothing passes; `each` group on its own, or all together only."""

    def attempt(trial: gs.Graph, share: float, data: Data | None) -> float:
        gone = problem.divide(division, Budget({search.cost: share}))
        prune(trial, problem.ctx, problem.shapes, problem.kept(gone), repair, data)
        return problem.shares()["macs"]

    def judge(gone: list[int]) -> TrialOutcome:
        trial = copy_graph(problem.graph)
        prune(trial, problem.ctx, problem.shapes, problem.kept(problem.move(gone)), repair, search.fitting)
        shares = problem.shares()
        return search.judged(shares[search.cost], shares["macs"], trial)

    least = problem.least(search.cost) if search.cost == "latency" else 0.0
    outcome = search_smallest(problem.graph, problem.ctx, search, attempt, least)
    if outcome.best is None:
        return None, outcome
    gone = problem.divide(division, Budget({search.cost: outcome.best.share}))
    if not each:
        return gone, outcome
    gone, trials = widen(problem, gone, judge, search)
    best = next((judged for judged in reversed(trials) if search.within(judged)), outcome.best)
    return gone, SearchOutcome(search, [*outcome.trials, *trials], best)


def widen(
    problem: PruningProblem, gone: Sequence[int], judge: UnitsJudge, search: BudgetSearch
) -> tuple[list[int], list[TrialOutcome]]:
    """Units gone per candidate, no fewer than in `gone`, and the trials."""
    found, trials = list(gone), list[TrialOutcome]()
    steps = {index: max(1, each.group.size // SHARE) for index, each in enumerate(problem.candidates)}
    with problem.ctx.progress(f"intervals, at most {TRIALS} trials", TRIALS) as advance:
        while len(trials) < TRIALS:
            problem.move(found)
            nexts = {index: _next(problem, index, found, step, search.cost) for index, step in steps.items() if step}
            nexts = {index: wider for index, wider in nexts.items() if wider > found[index]}
            if not nexts:
                break
            index = min(nexts, key=lambda each: _price(problem, each, found[each], nexts[each], search.cost))
            wider = [*found[:index], nexts[index], *found[index + 1 :]]
            trials.append(judge(wider))
            advance()
            if search.within(trials[-1]):
                found = wider
            else:
                steps[index] //= 2
    return found, trials


def _next(problem: PruningProblem, index: int, gone: Sequence[int], step: int, cost: str) -> int:
    """The allowed number of units after a step; as many as now at the end. Time falls in stairs: to the next."""
    sizes, now = problem.candidates[index].sizes, gone[index]
    after = sizes[min(np.searchsorted(sizes, now + step), len(sizes) - 1) :]
    if cost == "latency":
        costs = problem.cost_model.curve(index)[cost]
        return next((int(size) for size in after if costs[size] < costs[now]), now)
    return int(after[0])


def _price(problem: PruningProblem, index: int, gone: int, wider: int, cost: str) -> float:
    """Loss per cost of the step, the other groups as they stand."""
    costs, losses = problem.cost_model.curve(index)[cost], problem.candidates[index].losses
    return float((losses[wider] - losses[gone]) / max(costs[gone] - costs[wider], TINY))
