"""One threshold for a network: sizes are counts above it, the budget decides it."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.passes.budgets.allocate import Choice
from onnx_compress.passes.budgets.budget import Budget, BudgetUnreachable, CostShares
from onnx_compress.passes.decomposition.candidates import RewriteCandidate
from onnx_compress.passes.decomposition.survey import Survey
from onnx_compress.passes.decomposition.threshold import choose_by_threshold

FULL, SAVED = 12, 10
"""Parts of a layer, and the largest size that is cheaper than the dense layer."""


def survey(prices: list[int]) -> Survey:
    """A layer per price: size s costs s times the price, dense 11 times."""
    model = builders.model(
        "g (float[1,1,3,3] x) => (float[1,1,3,3] y) { y = Conv(x, w) }", w=builders.normal(1, 1, 1, 1)
    )
    (conv,) = find_convs(model.graph)
    candidates = [
        RewriteCandidate(
            conv,
            [
                Choice({"macs": 11.0 * price}, 0.0),
                *(Choice({"macs": float(size * price)}, 1.0, size, "f") for size in range(1, SAVED + 1)),
            ],
            {},
        )
        for price in prices
    ]
    total = {"macs": 11.0 * sum(prices)}
    return Survey(candidates, [], CostShares({"macs": 0.0}, total))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.floats(0.25, 1.0), st.integers(0, 99))
def test_the_lowest_threshold_that_meets_the_budget(prices: list[int], share: float, seed: int) -> None:
    saliencies = list(np.random.default_rng(seed).random((len(prices), FULL)))
    found = survey(prices)
    chosen, threshold = choose_by_threshold(Budget({"macs": share}), found, saliencies, 2)

    def sizes(cut: float) -> list[int]:
        counts = [max(2, int((values >= cut).sum())) for values in saliencies]
        return [count if count <= SAVED else 0 for count in counts]

    def cost(cut: float) -> float:
        return sum(price * (size or 11) for price, size in zip(prices, sizes(cut), strict=True)) / (11 * sum(prices))

    assert [choice.size for choice in chosen] == sizes(threshold)
    assert cost(threshold) <= share * (1 + 1e-9)
    lower = [value for values in saliencies for value in values if value < threshold]
    assert not lower or cost(max(lower)) > share


def test_a_budget_below_the_minimum_cannot_be_reached() -> None:
    with pytest.raises(BudgetUnreachable, match="macs"):
        choose_by_threshold(Budget({"macs": 0.1}), survey([1, 2]), list(builders.normal(2, FULL)), 2)
