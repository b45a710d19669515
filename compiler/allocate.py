"""Divides a budget over layers.

Each layer offers choices, each with a cost and an error; pick one per layer so that the sum of errors is smallest while
the sum of costs stays within the budget. For a price lambda per unit of cost every layer chooses on its own,
argmin error + lambda * cost (Everett, 1963); bisection finds the smallest price that keeps the budget, and a repair
step spends what is left on the changes that buy the most error per cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Choice:
    """One way to write a layer: its `cost` and `error`, and the `form` and `size` to write it in (0: as it is)."""

    cost: float
    error: float
    size: int = 0
    form: str = "dense"


def allocate(layers: Sequence[Sequence[Choice]], budget: float) -> list[Choice] | None:
    """The best choice per layer with a total cost of at most `budget`; None where even the cheapest exceeds it."""
    if not layers:
        return []
    cheapest = [min(choices, key=lambda c: (c.cost, c.error)) for choices in layers]
    if sum(choice.cost for choice in cheapest) > budget:
        return None
    costs = [np.array([c.cost for c in choices]) for choices in layers]
    errors = [np.array([c.error for c in choices]) for choices in layers]
    picked = _at_price(costs, errors, _price(costs, errors, budget))
    if _total(costs, picked) > budget:
        picked = [int(np.lexsort((e, c))[0]) for c, e in zip(costs, errors, strict=True)]
    _spend_rest(costs, errors, picked, budget)
    return [choices[i] for choices, i in zip(layers, picked, strict=True)]


def _at_price(costs: list[np.ndarray], errors: list[np.ndarray], price: float) -> list[int]:
    return [int(np.argmin(e + price * c)) for c, e in zip(costs, errors, strict=True)]


def _total(costs: list[np.ndarray], picked: list[int]) -> float:
    return float(sum(c[i] for c, i in zip(costs, picked, strict=True)))


def _price(costs: list[np.ndarray], errors: list[np.ndarray], budget: float) -> float:
    low, high = 0.0, 1e-12
    if _total(costs, _at_price(costs, errors, low)) <= budget:
        return low
    while _total(costs, _at_price(costs, errors, high)) > budget and high < 1e12:
        high *= 4
    for _ in range(100):
        middle = (low + high) / 2
        if _total(costs, _at_price(costs, errors, middle)) <= budget:
            high = middle
        else:
            low = middle
    return high


def _spend_rest(costs: list[np.ndarray], errors: list[np.ndarray], picked: list[int], budget: float) -> None:
    """Greedy repair, in place: the affordable change with the most error saved per cost, until none is left."""
    while True:
        slack = budget - _total(costs, picked)
        best, gain = None, 0.0
        for layer, (c, e) in enumerate(zip(costs, errors, strict=True)):
            extra, saved = c - c[picked[layer]], e[picked[layer]] - e
            useful = (saved > 0) & (extra <= slack)
            if not useful.any():
                continue
            rate = np.where(useful, saved / np.maximum(extra, 1e-9), 0.0)
            choice = int(np.argmax(rate))
            if rate[choice] > gain:
                best, gain = (layer, choice), float(rate[choice])
        if best is None:
            return
        picked[best[0]] = best[1]
