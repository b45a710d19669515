"""Divides budgets over layers.

Each layer offers choices, each with its costs (macs, params, bytes, latency, ...) and an error; pick one per layer so
that the sum of errors is smallest while the total of every budgeted cost stays within its budget. `knapsack` says how,
and in which sense the result is optimal: exactly for small cases, otherwise within the gap of the Lagrangian bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .knapsack import KnapsackProblem, solve


@dataclass(frozen=True)
class Choice:
    """One way to write a layer: its `costs` and `error`, and the `form` and `size` to write it in (0: as it is)."""

    costs: Mapping[str, float]
    error: float
    size: int = 0
    form: str = "dense"

    @property
    def work(self) -> float:
        """MACs, or where they are not known parameters."""
        return self.costs["macs"] if "macs" in self.costs else self.costs["params"]


def allocate(
    layers: Sequence[Sequence[Choice]], budgets: Mapping[str, float], gains: Sequence[float] | None = None
) -> list[Choice] | None:
    """The choice per layer with the least total error, each cost named in `budgets` totalling at most that
    (up to rounding, a relative 1e-12).

    Args:
        gains: what a unit of each layer's error counts; all the same if None.

    Returns:
        None where the cheapest choices exceed a budget, or no choices were found that keep all of them together.
    """
    if not layers or not budgets:
        least = [min(choices, key=lambda choice: choice.error) for choices in layers]
        return least if all(budget >= 0 for budget in budgets.values()) else None
    if any(cheapest(layers, unit) > budget * (1 + 1e-12) for unit, budget in budgets.items()):
        return None
    picked = solve(_problem(layers, budgets, gains or [1.0] * len(layers)))
    return None if picked is None else [choices[i] for choices, i in zip(layers, picked, strict=True)]


def cheapest(layers: Sequence[Sequence[Choice]], unit: str) -> float:
    """The least total of one cost."""
    return sum(min(choice.costs[unit] for choice in choices) for choices in layers)


def _problem(
    layers: Sequence[Sequence[Choice]], budgets: Mapping[str, float], gains: Sequence[float]
) -> KnapsackProblem:
    width = max(len(choices) for choices in layers)
    errors = np.full((len(layers), width), np.inf)
    costs = np.zeros((len(layers), width, len(budgets)))
    scale = [budget if budget > 0 else 1.0 for budget in budgets.values()]
    for row, (choices, gain) in enumerate(zip(layers, gains, strict=True)):
        errors[row, : len(choices)] = [gain * choice.error for choice in choices]
        costs[row, : len(choices)] = [
            [choice.costs[unit] / s for unit, s in zip(budgets, scale, strict=True)] for choice in choices
        ]
    return KnapsackProblem(costs, errors)
