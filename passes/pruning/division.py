"""How many units of each candidate go.

loss      Greedy: again and again the step, of any length and candidate, with the least loss per cost that is still over
          a limit, all limits counted relative to their excess; then, while the limits allow, the steps of the largest
          loss back. What a step saves is read off the cost_model each time, since the costs of neighbours multiply. Of
          several limits each is also met alone first, then all: parameters are in late layers, MACs in early ones.
          Where `share` or `even`, with the steps that fit back, lose less in all, theirs is the result.
share     the same share of every candidate, the smallest that meets the limits
interval  every candidate's units up to the same value of the criterion, the lowest that meets the limits
even      every candidate as far as it loses no more than the others, the least that meets the limits
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from ..budgets.budget import Budget, CostShares, unreachable
from .candidates import PruningCandidate
from .cost_model import PruningCostModel

Costs = Mapping[str, float]
STEPS = 40
TINY = 1e-12


class NoCheaperStep(Exception):
    """No step brings these costs down any more."""

    def __init__(self, units: Sequence[str]):
        super().__init__()
        self.units = units


def divide(
    rule: str,
    budget: Budget,
    candidates: Sequence[PruningCandidate],
    cost_model: PruningCostModel,
    shares: CostShares,
) -> list[int]:
    """Units gone, per candidate; `cost_model` is moved there.

    Raises:
        BudgetUnreachable: the limits cannot be met; names the nearest that can.
    """
    limits = shares.left(budget.limits)
    cost_model.move_all([0] * len(candidates))
    try:
        if not candidates or not _over(cost_model, limits):
            _require(cost_model, limits)
        elif rule == "loss":
            _least_loss(candidates, cost_model, limits)
        else:
            _cut(rule, candidates, cost_model, limits)
    except NoCheaperStep as end:
        least = shares.of(cost_model.total())
        raise unreachable(budget, "found", {unit: least[unit] for unit in end.units}) from None
    return list(cost_model.gone)


def of_share(candidates: Sequence[PruningCandidate], share: float) -> list[int]:
    """About `share` of every candidate: the next allowed number from above, or the largest."""
    return [_allowed(candidate, share * candidate.group.size) for candidate in candidates]


def of_interval(candidates: Sequence[PruningCandidate], value: float) -> list[int]:
    """What scores below `value` in every candidate."""
    return [_allowed(each, int(np.searchsorted(each.scores, value))) for each in candidates]


def of_loss(candidates: Sequence[PruningCandidate], loss: float) -> list[int]:
    """As many of every candidate as lose no more than `loss`."""
    return [int(each.sizes[each.losses[each.sizes] <= loss].max(initial=0)) for each in candidates]


def _allowed(candidate: PruningCandidate, gone: float) -> int:
    return int(candidate.sizes[min(np.searchsorted(candidate.sizes, gone - 1e-9), len(candidate.sizes) - 1)])


def _least_loss(candidates: Sequence[PruningCandidate], cost_model: PruningCostModel, limits: Costs) -> None:
    """The best of several starts, each with what fits back: the first meets all limits together, or one before all."""
    found: list[tuple[float, list[int]]] = []
    for first in [limits, *({unit: limit} for unit, limit in limits.items() if len(limits) > 1)]:
        cost_model.move_all([0] * len(candidates))
        _descend(candidates, cost_model, first)
        _descend(candidates, cost_model, limits)
        _give_back(candidates, cost_model, limits)
        found.append((_lost(candidates, cost_model), list(cost_model.gone)))
    for rule in ("share", "even"):
        with suppress(NoCheaperStep):
            _cut(rule, candidates, cost_model, limits)
            _give_back(candidates, cost_model, limits)
            found.append((_lost(candidates, cost_model), list(cost_model.gone)))
    cost_model.move_all(min(found)[1])


def _lost(candidates: Sequence[PruningCandidate], cost_model: PruningCostModel) -> float:
    return sum(float(each.losses[gone]) for each, gone in zip(candidates, cost_model.gone, strict=True))


def _descend(candidates: Sequence[PruningCandidate], cost_model: PruningCostModel, limits: Costs) -> None:
    steps: dict[int, tuple[float, int]] = {}
    while over := _over(cost_model, limits):
        scale = over if len(limits) > 1 else dict.fromkeys(over, 1.0)
        for index, candidate in enumerate(candidates):
            if index not in steps:
                steps[index] = _best(candidate, cost_model.gone[index], cost_model.curve(index), scale)
        index = min(steps, key=lambda each: steps[each][0])
        if np.isinf(steps[index][0]):
            raise NoCheaperStep(list(over))
        cost_model.move(index, steps[index][1])
        changed = cost_model.neighbours(index) if len(limits) == 1 else list(steps)
        for each in changed:
            steps.pop(each, None)


def _best(candidate: PruningCandidate, gone: int, costs: Mapping[str, np.ndarray], scale: Costs) -> tuple[float, int]:
    """The least loss per saving, in units of `scale`, and the number of units gone after that step."""
    sizes = candidate.sizes[candidate.sizes > gone]
    if not len(sizes):
        return np.inf, gone
    saved = sum(np.maximum(costs[unit][gone] - costs[unit][sizes], 0) / one for unit, one in scale.items())
    ratios = (candidate.losses[sizes] - candidate.losses[gone]) / np.maximum(saved, TINY)
    ratios = np.where(saved > 0, ratios, np.inf)
    first = int(np.argmin(ratios))
    return float(ratios[first]), int(sizes[first])


def _give_back(candidates: Sequence[PruningCandidate], cost_model: PruningCostModel, limits: Costs) -> None:
    """Bring back the units whose absence costs most, as long as they fit."""
    while True:
        fitting = [(gain, index, gone) for index, gain, gone in _returns(candidates, cost_model) if gain > 0]
        for _, index, gone in sorted(fitting, reverse=True):
            before = cost_model.gone[index]
            cost_model.move(index, gone)
            if not _over(cost_model, limits):
                break
            cost_model.move(index, before)
        else:
            return


def _returns(candidates: Sequence[PruningCandidate], cost_model: PruningCostModel) -> list[tuple[int, float, int]]:
    """(candidate, loss won, units gone) one allowed step back, for each that has lost some."""
    found: list[tuple[int, float, int]] = []
    for index, candidate in enumerate(candidates):
        gone = cost_model.gone[index]
        if gone:
            back = int(candidate.sizes[candidate.sizes < gone].max())
            found.append((index, float(candidate.losses[gone] - candidate.losses[back]), back))
    return found


def _cut(rule: str, candidates: Sequence[PruningCandidate], cost_model: PruningCostModel, limits: Costs) -> None:
    """Bisect the share, value of the criterion or loss that just meets the limits."""
    low, high, of = _range(rule, candidates)
    for _ in range(STEPS):
        middle = (low + high) / 2
        cost_model.move_all(of(candidates, middle))
        low, high = (middle, high) if _over(cost_model, limits) else (low, middle)
    cost_model.move_all(of(candidates, high))
    _require(cost_model, limits)


def _range(rule: str, candidates: Sequence[PruningCandidate]) -> tuple[float, float, Callable[..., list[int]]]:
    if rule == "share":
        return 0.0, 1.0, of_share
    if rule == "even":
        return 0.0, max(float(candidate.losses[-1]) for candidate in candidates), of_loss
    values = np.concatenate([candidate.scores for candidate in candidates])
    return float(values.min()), float(values.max()) + 1.0, of_interval


def _require(cost_model: PruningCostModel, limits: Costs) -> None:
    """`NoCheaperStep` where a limit is exceeded."""
    if over := _over(cost_model, limits):
        raise NoCheaperStep(list(over))


def _over(cost_model: PruningCostModel, limits: Costs) -> dict[str, float]:
    """By how much each limit is exceeded, where it is."""
    total = cost_model.total()
    return {unit: total[unit] - limit for unit, limit in limits.items() if total[unit] > limit * (1 + TINY)}
