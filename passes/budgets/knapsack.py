"""One choice per layer, the least total error, several totals bounded: a multiple-choice knapsack with k constraints.

    minimise sum_l e[l, j_l]    subject to    sum_l c[l, j_l] <= 1   (k rows)            costs are shares of the budget

1. Multipliers. For prices p >= 0 each layer chooses on its own, and  D(p) = sum_l min_j (e + p c) - sum p  bounds the
   least error from below (Everett, 1963). D is concave and piecewise linear; cutting planes (Kelley, 1960) find its
   largest value.
2. Repair. The choices at those prices, with prices raised until they keep the budgets; what is left is spent on the
   changes that save the most error per cost. This is a bound from above, U.
3. Search. A choice is e + p c - min_j (e + p c) >= 0 worse than the layer's best at these prices. No solution whose sum
   of these gaps exceeds U - D can beat U, so a dynamic program over the layers follows only partial solutions below
   that, that can still keep the budgets, and (one constraint) that no other beats in both cost and error.

The result is optimal as long as at most `STATES` partial solutions remain after every layer and each branches at most
`BRANCHES` / their number ways, as in small cases (tested against all solutions for 6 layers of 8 choices). Beyond, only
the best of each cell of a grid over the costs are kept, with their best branches; then the result is at least as good
as the repaired one, so within U - D of the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Array = NDArray[np.float64]
STATES, BRANCHES = 1024, 2**13
CUTS = 60
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class KnapsackProblem:
    """Layers by choices: costs (l, n, k) as shares of the budgets, errors (l, n), infinite where a layer has fewer."""

    costs: Array
    errors: Array

    def at_price(self, price: Array) -> NDArray[np.intp]:
        return np.argmin(self.errors + self.costs @ price, axis=1)

    def total(self, picked: NDArray[np.intp]) -> tuple[Array, float]:
        rows = np.arange(len(picked))
        return self.costs[rows, picked].sum(axis=0), float(self.errors[rows, picked].sum())

    def fits(self, picked: NDArray[np.intp]) -> bool:
        return bool(np.all(self.total(picked)[0] <= 1 + ROUNDING))


def solve(problem: KnapsackProblem) -> NDArray[np.intp] | None:
    """The choice of each layer (l,); None where no solution was found that keeps every budget."""
    price, bound = multipliers(problem)
    repaired = _repair(problem, price)
    above = np.inf if repaired is None else problem.total(repaired)[1]
    found = _search(problem, price, above - bound)
    if found is None or (repaired is not None and problem.total(found)[1] >= above):
        return repaired
    return found


def multipliers(problem: KnapsackProblem) -> tuple[Array, float]:
    """The prices (k,) per share of a budget with the largest lower bound, and that bound."""
    k = problem.costs.shape[2]
    largest = 1e4 * max(1e-12, float(np.max(problem.errors, initial=0.0, where=np.isfinite(problem.errors))))
    best, price, bound = np.zeros(k), np.zeros(k), -np.inf
    slopes: list[Array] = []
    values: list[float] = []
    for _ in range(CUTS):
        cost, error = problem.total(problem.at_price(price))
        slopes.append(cost - 1)
        values.append(error)
        if error + (cost - 1) @ price > bound:
            best, bound = price, float(error + (cost - 1) @ price)
        plan = np.column_stack([-np.array(slopes), np.ones(len(slopes))])
        solved = linprog([*[0.0] * k, -1.0], plan, values, bounds=[(0, largest)] * k + [(None, None)])
        if solved.x is None or solved.fun is None or -solved.fun <= bound + 1e-9 * abs(bound) + 1e-15:
            break
        price = np.asarray(solved.x[:k])
    return best, bound


def _repair(problem: KnapsackProblem, price: Array) -> NDArray[np.intp] | None:
    start = np.maximum(price, 1e-9 * (price.max() or 1.0))
    for factor in (1.0, *1.0 + 2.0 ** np.arange(-20, 30)):
        picked = problem.at_price(start * factor)
        if problem.fits(picked):
            return _spend_rest(problem, picked)
    return None


def _spend_rest(problem: KnapsackProblem, picked: NDArray[np.intp]) -> NDArray[np.intp]:
    """Greedy: the affordable change with the most error saved per cost, until none is left."""
    rows = np.arange(len(picked))
    for _ in range(10 * len(picked)):
        slack = 1 - problem.total(picked)[0]
        extra = problem.costs - problem.costs[rows, picked][:, None]
        saved = problem.errors[rows, picked][:, None] - problem.errors
        useful = (saved > 0) & np.all(extra <= slack, axis=2)
        if not useful.any():
            break
        rate = np.where(useful, saved / np.maximum(extra.max(axis=2), 1e-9), 0.0)
        layer, choice = np.unravel_index(int(np.argmax(rate)), rate.shape)
        picked = picked.copy()
        picked[layer] = choice
    return picked


def _search(problem: KnapsackProblem, price: Array, allowed: float) -> NDArray[np.intp] | None:
    """The best solution whose gaps sum to at most `allowed`, or None."""
    priced = problem.errors + problem.costs @ price
    gaps = priced - priced.min(axis=1, keepdims=True)
    reach = np.where(np.isfinite(problem.errors)[..., None], problem.costs, np.inf).min(axis=1)
    rest = np.append(np.cumsum(reach[::-1], axis=0)[::-1][1:], np.zeros((1, reach.shape[1])), axis=0)
    limit = allowed * (1 + 1e-9) + ROUNDING * float(np.abs(priced.min(axis=1)).sum())
    cost, gap, trail = np.zeros((1, reach.shape[1])), np.zeros(1), list[tuple[NDArray[np.intp], NDArray[np.intp]]]()
    for layer in range(len(gaps)):
        open_ = np.flatnonzero(np.isfinite(gaps[layer]) & (gaps[layer] <= limit))
        open_ = open_[np.argsort(gaps[layer, open_], kind="stable")[: max(8, BRANCHES // len(gap))]]
        costs = (cost[:, None] + problem.costs[layer, open_]).reshape(-1, cost.shape[1])
        sums = (gap[:, None] + gaps[layer, open_]).ravel()
        alive = np.flatnonzero((sums <= limit) & np.all(costs + rest[layer] <= 1 + ROUNDING, axis=1))
        if not len(alive):
            return None
        alive = alive[_thinned(costs[alive], sums[alive], price)]
        cost, gap = costs[alive], sums[alive]
        trail.append((alive // len(open_), open_[alive % len(open_)]))
    return _traced(trail, int(np.argmin(gap - cost @ price)))


def _thinned(cost: Array, gap: Array, price: Array) -> NDArray[np.intp]:
    """The partial solutions to follow: undominated ones, and of each cell of a grid over the costs the best."""
    kept = np.arange(len(gap))
    if cost.shape[1] == 1:
        kept = np.lexsort((gap - cost @ price, cost[:, 0]))
        error = (gap - cost @ price)[kept]
        kept = kept[np.append(True, error[1:] < np.minimum.accumulate(error)[:-1])]
    if len(kept) <= STATES:
        return kept
    side = int(STATES ** (1 / cost.shape[1]))
    low, high = cost[kept].min(axis=0), cost[kept].max(axis=0)
    cells = np.minimum((cost[kept] - low) / np.maximum(high - low, 1e-300) * side, side - 1).astype(np.int64)
    order = kept[np.lexsort((gap[kept], *cells.T))]
    cells = cells[np.lexsort((gap[kept], *cells.T))]
    return order[np.append(True, np.any(cells[1:] != cells[:-1], axis=1))]


def _traced(trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]], state: int) -> NDArray[np.intp]:
    picked: list[int] = []
    for parents, choices in reversed(trail):
        picked.append(int(choices[state]))
        state = int(parents[state])
    return np.array(picked[::-1], dtype=np.intp)
