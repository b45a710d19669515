"""Division of a budget over layers, against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.allocate import Choice, allocate


def layers_of(seed: int, layers: int = 4, sizes: int = 5) -> list[list[Choice]]:
    """Convex error curves of random scale, as a decomposition gives."""
    rng = np.random.default_rng(seed)
    return [
        [
            Choice(float(cost), float(error), size)
            for size, (cost, error) in enumerate(
                zip(
                    np.cumsum(rng.integers(1, 20, sizes))[::-1],
                    np.append(0, np.cumsum(np.sort(rng.random(sizes - 1)))),
                    strict=True,
                )
            )
        ]
        for _ in range(layers)
    ]


def best(layers: list[list[Choice]], budget: float) -> float:
    picks = (pick for pick in product(*layers) if sum(c.cost for c in pick) <= budget)
    return min(sum(c.error for c in pick) for pick in picks)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 1.0))
def test_the_budget_holds_and_the_error_is_near_the_best(seed: int, share: float) -> None:
    layers = layers_of(seed)
    budget = share * sum(max(c.cost for c in choices) for choices in layers)
    chosen = allocate(layers, budget)
    if chosen is None:
        assert sum(min(c.cost for c in choices) for choices in layers) > budget
        return
    assert sum(c.cost for c in chosen) <= budget
    step = max(max(c.error for c in choices) for choices in layers)
    assert sum(c.error for c in chosen) <= best(layers, budget) + step


def test_a_full_budget_leaves_every_layer_dense() -> None:
    layers = layers_of(1)
    chosen = allocate(layers, sum(choices[0].cost for choices in layers))
    assert chosen == [choices[0] for choices in layers]


def test_a_budget_below_the_cheapest_is_refused() -> None:
    assert allocate(layers_of(2), 3.0) is None


def test_what_is_left_of_the_budget_is_spent() -> None:
    layers = [[Choice(10, 0.0), Choice(1, 1.0, 1)], [Choice(10, 0.0), Choice(1, 1.1, 1)]]
    assert [c.size for c in allocate(layers, 12) or []] == [1, 0]


def test_no_layers_cost_nothing() -> None:
    assert allocate([], 0) == []


@pytest.mark.parametrize("layers", [200])
def test_many_layers_keep_the_budget(layers: int) -> None:
    curves = layers_of(3, layers, 100)
    budget = 0.5 * sum(choices[0].cost for choices in curves)
    chosen = allocate(curves, budget)
    assert chosen is not None
    assert 0.99 * budget < sum(c.cost for c in chosen) <= budget
