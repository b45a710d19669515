"""Division of budgets over layers, against all solutions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.budgets.allocate import Choice, allocate, cheapest

UNITS = ("macs", "params", "ms")


def layers_of(seed: int, layers: int = 4, sizes: int = 5, units: int = 1) -> list[list[Choice]]:
    """Convex error curves of random scale over rising integer costs, as a decomposition gives; the last is dense."""
    rng = np.random.default_rng(seed)
    return [_layer(rng, sizes, units) for _ in range(layers)]


def _layer(rng: np.random.Generator, sizes: int, units: int) -> list[Choice]:
    costs = np.cumsum(rng.integers(1, 20, (sizes, units)), axis=0)[::-1]
    errors = np.exp(rng.normal()) * np.append(0, np.cumsum(np.sort(rng.random(sizes - 1))))
    return [
        Choice(dict(zip(UNITS, map(float, cost), strict=False)), float(error), size)
        for size, (cost, error) in enumerate(zip(costs, errors, strict=True))
    ]


def best(layers: list[list[Choice]], budgets: dict[str, float]) -> float:
    """The least total error of all solutions; infinite where none keeps the budgets."""
    error = np.zeros(1)
    total = np.zeros((1, len(budgets)))
    for choices in layers:
        error = np.add.outer(error, [c.error for c in choices]).ravel()
        costs = np.array([[c.costs[unit] for unit in budgets] for c in choices])
        total = (total[:, None] + costs).reshape(-1, len(budgets))
    return float(np.min(error, initial=np.inf, where=np.all(total <= list(budgets.values()), axis=1)))


def shares_of(layers: list[list[Choice]], shares: dict[str, float]) -> dict[str, float]:
    return {
        unit: float(int(share * sum(choices[0].costs[unit] for choices in layers))) for unit, share in shares.items()
    }


def total(chosen: list[Choice], unit: str) -> float:
    return sum(choice.costs[unit] for choice in chosen)


@pytest.mark.parametrize(
    "shares", [{"macs": 0.5}, {"macs": 0.5, "params": 0.45}, {"macs": 0.6, "params": 0.5, "ms": 0.5}]
)
@pytest.mark.parametrize("seed", range(6))
def test_small_cases_are_solved_exactly(seed: int, shares: dict[str, float]) -> None:
    layers = layers_of(seed, 6, 8, 3)
    budgets = shares_of(layers, shares)
    chosen = allocate(layers, budgets)
    assert chosen is not None
    assert all(total(chosen, unit) <= budget for unit, budget in budgets.items())
    assert sum(c.error for c in chosen) == pytest.approx(best(layers, budgets), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.15, 1.0), st.floats(0.15, 1.0))
def test_two_budgets_hold_with_the_least_error_or_none_is_possible(seed: int, macs: float, params: float) -> None:
    layers = layers_of(seed, units=2)
    budgets = shares_of(layers, {"macs": macs, "params": params})
    chosen = allocate(layers, budgets)
    if chosen is None:
        assert best(layers, budgets) == np.inf
        return
    assert all(total(chosen, unit) <= budget for unit, budget in budgets.items())
    assert sum(c.error for c in chosen) == pytest.approx(best(layers, budgets), rel=1e-9)


def test_a_full_budget_leaves_every_layer_dense() -> None:
    layers = layers_of(1)
    assert allocate(layers, shares_of(layers, {"macs": 1.0})) == [choices[0] for choices in layers]


def test_without_a_budget_every_layer_takes_its_smallest_error() -> None:
    layers = layers_of(1)
    assert allocate(layers, {}) == [choices[0] for choices in layers]


def test_a_budget_below_the_cheapest_is_refused() -> None:
    layers = layers_of(2)
    assert allocate(layers, {"macs": cheapest(layers, "macs") - 1}) is None
    assert allocate(layers, {"macs": cheapest(layers, "macs")}) is not None


def test_budgets_that_hold_one_by_one_but_not_together_are_refused() -> None:
    layer = [Choice({"macs": 1, "params": 9}, 0.0), Choice({"macs": 9, "params": 1}, 0.0)]
    assert allocate([layer], {"macs": 2, "params": 2}) is None
    assert allocate([layer], {"macs": 2}) == [layer[0]]


def test_what_is_left_of_the_budget_is_spent() -> None:
    layers = [
        [Choice({"macs": 10}, 0.0), Choice({"macs": 1}, 1.0, 1)],
        [Choice({"macs": 10}, 0.0), Choice({"macs": 1}, 1.1, 1)],
    ]
    assert [c.size for c in allocate(layers, {"macs": 12}) or []] == [1, 0]
    assert [c.size for c in allocate(layers, {"macs": 12}, gains=[2.0, 1.0]) or []] == [0, 1]


def test_no_layers_cost_nothing() -> None:
    assert allocate([], {"macs": 0}) == []
    assert allocate([], {"macs": -1}) is None


@pytest.mark.parametrize("shares", [{"macs": 0.5}, {"macs": 0.5, "params": 0.5}])
def test_many_layers_use_the_budget_without_exceeding_it(shares: dict[str, float]) -> None:
    layers = layers_of(3, 200, 100, 2)
    budgets = shares_of(layers, shares)
    chosen = allocate(layers, budgets)
    assert chosen is not None
    used = [total(chosen, unit) / budget for unit, budget in budgets.items()]
    assert max(used) <= 1
    assert max(used) > 0.999
