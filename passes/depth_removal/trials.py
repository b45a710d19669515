"""As many blocks as held-out samples allow: more and more, re-fitted and judged; then between the last number that
passed and the first that failed."""

from __future__ import annotations

from collections.abc import Callable

from ..budgets.budget import Budget
from ..budgets.search import TRIALS, BudgetSearch, SearchOutcome, TrialOutcome
from .problem import DepthProblem

Judging = Callable[[int], TrialOutcome]


def search_count(
    problem: DepthProblem, budget: Budget, search: BudgetSearch, judge: Judging
) -> tuple[int, SearchOutcome]:
    """Blocks gone, 0 where no number passes."""
    trials = dict[int, TrialOutcome]()
    passed, failed = 0, None
    number = _first(problem, budget)
    with problem.ctx.progress(f"budget search, at most {TRIALS} trials", TRIALS) as advance:
        while len(trials) < TRIALS and (failed is None or failed - passed > 1):
            if number is None or number in trials:
                break
            trials[number] = judge(number)
            advance(f"{number} blocks")
            if search.within(trials[number]):
                passed = number
            elif not passed and budget.worth:
                break
            else:
                failed = number
            number = (passed + failed) // 2 if failed is not None else _further(problem, budget, passed)
    return passed, SearchOutcome(search, list(trials.values()), trials.get(passed))


def _first(problem: DepthProblem, budget: Budget) -> int | None:
    """Blocks that save what is worth a change; None where there are too few."""
    number = 1
    while (step := problem.step(number, budget)) is not None:
        if step.shares.get(budget.cost, 0.0) <= 1 - budget.worth:
            return number
        number += 1
    return None


def _further(problem: DepthProblem, budget: Budget, passed: int) -> int | None:
    """Twice as many, or all that can go."""
    wanted = 2 * passed
    while wanted > passed and problem.step(wanted, budget) is None:
        wanted = len(problem.steps)
    return wanted if wanted > passed else None
