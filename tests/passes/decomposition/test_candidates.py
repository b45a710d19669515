"""The choice of a size per Conv: what budgets are met, what cannot be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from onnx_compress.passes.budgets.allocate import Choice
from onnx_compress.passes.budgets.budget import Budget, BudgetUnreachable, CostShares
from onnx_compress.passes.decomposition.candidates import RewriteCandidate, choose


def candidate(*choices: tuple[float, float, float], gain: float = 1.0) -> RewriteCandidate:
    """(macs, params, error) each; the first is dense."""
    conv: Any = SimpleNamespace(name="conv")
    listed = [
        Choice({"macs": macs, "params": params}, error, size, "f" if size else "dense")
        for size, (macs, params, error) in enumerate(choices)
    ]
    form: Any = SimpleNamespace(limit=lambda conv: len(choices))  # pyright: ignore[reportUnknownLambdaType]
    return RewriteCandidate(conv, listed, {"f": form}, gain)


PAIR = [candidate((10, 6, 0), (5, 5, 0.1), (1, 1, 0.4)), candidate((10, 6, 0), (5, 1, 0.2), (1, 5, 0.3))]
SHARES = CostShares({"macs": 4.0, "params": 2.0}, {"macs": 24.0, "params": 14.0})


def sizes(budget: Budget | None, pair: list[RewriteCandidate] = PAIR) -> list[int]:
    assert budget is not None
    return [choice.size for choice in choose(budget, pair, SHARES)]


def test_limits_may_be_given_together_and_all_hold() -> None:
    assert sizes(Budget.of(macs=0.5)) == [1, 2]
    assert sizes(Budget.of(macs=0.6, params=0.6)) == [1, 1]


def test_a_gain_moves_the_loss_to_other_convs() -> None:
    heavy = [candidate((10, 6, 0), (5, 5, 0.1)), candidate((10, 6, 0), (5, 1, 0.2))]
    assert sizes(Budget.of(macs=0.8), heavy) == [1, 0]
    heavy[0] = candidate((10, 6, 0), (5, 5, 0.1), gain=3.0)
    assert sizes(Budget.of(macs=0.8), heavy) == [0, 1]


def test_a_budget_out_of_reach_names_the_nearest() -> None:
    budget = Budget.of(macs=0.2, params=0.9)
    assert budget is not None
    with pytest.raises(BudgetUnreachable, match=r"macs=0.2:params=0.9 cannot be reached .*possible is macs=0.250\)"):
        choose(budget, PAIR, SHARES)


def test_limits_that_exclude_each_other_name_what_each_alone_allows() -> None:
    crossed = [candidate((10, 10, 0), (9, 1, 0.1), (1, 9, 0.1))]
    budget = Budget.of(macs=0.3, params=0.3)
    assert budget is not None
    with pytest.raises(BudgetUnreachable, match=r"macs=0.100, params=0.100, each alone"):
        choose(budget, crossed, CostShares({"macs": 0, "params": 0}, {"macs": 10, "params": 10}))
