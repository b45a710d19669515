"""Sizes by one threshold for the whole network, as papers on pruning set them.

Every layer gets as many parts as it has parts of a saliency of at least the threshold, and no fewer than a minimum:

    size(layer) = max(least, number of saliencies >= threshold)

rounded up to a size that is offered; dense where none is that large. Costs fall as the threshold rises, so the budget
decides the threshold: the lowest that meets it. Error curves play no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..budgets.allocate import Choice
from ..budgets.budget import Budget
from .candidates import RewriteCandidate, choose
from .survey import Survey


def choose_by_threshold(
    budget: Budget, found: Survey, saliencies: Sequence[np.ndarray], least: int
) -> tuple[list[Choice], float]:
    """(a choice per candidate, the threshold); the smallest sizes have an infinite threshold.

    Args:
        budget: limits, no rule.
        saliencies: of the parts of each candidate.
        least: parts that every layer keeps.

    Raises:
        BudgetUnreachable: the smallest sizes exceed the budget.
    """
    allowed = [_at_least(candidate, least) for candidate in found.candidates]
    thresholds = [*np.unique(np.concatenate([np.zeros(1), *saliencies])).tolist(), np.inf]
    low, high = -1, len(thresholds) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if _fits(budget, found, _cut(allowed, saliencies, thresholds[middle])) else (middle, high)
        )
    chosen = _cut(allowed, saliencies, thresholds[high])
    if not _fits(budget, found, chosen):
        chosen = choose(budget, allowed, found.costs)
    return chosen, thresholds[high]


def _at_least(candidate: RewriteCandidate, least: int) -> RewriteCandidate:
    sizes = [choice for choice in candidate.choices[1:] if choice.size >= least]
    return replace(candidate, choices=[candidate.dense, *sorted(sizes, key=lambda choice: choice.size)])


def _cut(candidates: Sequence[RewriteCandidate], saliencies: Sequence[np.ndarray], threshold: float) -> list[Choice]:
    counts = [int((values >= threshold).sum()) for values in saliencies]
    return [
        next((choice for choice in candidate.choices[1:] if choice.size >= count), candidate.dense)
        for candidate, count in zip(candidates, counts, strict=True)
    ]


def _fits(budget: Budget, found: Survey, chosen: Sequence[Choice]) -> bool:
    kept = found.kept(chosen)
    return all(kept[unit] <= share * (1 + 1e-12) for unit, share in budget.limits.items())
