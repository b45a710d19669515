"""Budgets: what may be combined, what is met, what cannot be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from onnx_compress.passes.budgets.allocate import Choice
from onnx_compress.passes.budgets.budget import Budget, BudgetUnreachable, RewriteCandidate, choose, slack_notes


def candidate(*choices: tuple[float, float, float], gain: float = 1.0) -> RewriteCandidate:
    """(macs, params, error) each; the first is dense."""
    conv: Any = SimpleNamespace(name="conv")
    listed = [
        Choice({"macs": macs, "params": params}, error, size, "f" if size else "dense")
        for size, (macs, params, error) in enumerate(choices)
    ]
    return RewriteCandidate(conv, listed, {"f": len(choices)}, gain)


PAIR = [candidate((10, 6, 0), (5, 5, 0.1), (1, 1, 0.4)), candidate((10, 6, 0), (5, 1, 0.2), (1, 5, 0.3))]
COST = {"macs": 24.0, "params": 14.0}
FIXED = {"macs": 4.0, "params": 2.0}


def sizes(budget: Budget | None, pair: list[RewriteCandidate] = PAIR) -> list[int]:
    assert budget is not None
    return [choice.size for choice in choose(budget, pair, FIXED, COST)]


def test_limits_may_be_given_together_and_all_hold() -> None:
    assert sizes(Budget.of(macs=0.5)) == [1, 2]
    assert sizes(Budget.of(macs=0.6, params=0.6)) == [1, 1]


def test_a_gain_moves_the_loss_to_other_convs() -> None:
    heavy = [candidate((10, 6, 0), (5, 5, 0.1)), candidate((10, 6, 0), (5, 1, 0.2))]
    assert sizes(Budget.of(macs=0.8), heavy) == [1, 0]
    heavy[0] = candidate((10, 6, 0), (5, 5, 0.1), gain=3.0)
    assert sizes(Budget.of(macs=0.8), heavy) == [0, 1]


@pytest.mark.parametrize("other", [{"macs": 0.5}, {"rank": 4}, {"accuracy_drop": 1.0}])
def test_a_rule_stands_alone(other: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected one budget, or several of macs, params, bytes, latency"):
        Budget.of(energy=0.9, **other)


@pytest.mark.parametrize(
    ("option", "value"),
    [("macs", 0), ("bytes", 1.5), ("latency", -1), ("agreement", 97), ("accuracy_drop", -0.5), ("rank", 0)],
)
def test_a_value_out_of_range_is_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option.replace("_", "-")):
        Budget.of(**{option: value})


def test_nothing_given_is_no_budget() -> None:
    assert Budget.of(macs=None, energy=None) is None


def test_a_budget_out_of_reach_names_the_nearest() -> None:
    budget = Budget.of(macs=0.2, params=0.9)
    assert budget is not None
    with pytest.raises(BudgetUnreachable, match=r"macs=0.2:params=0.9 cannot be reached .*possible is macs=0.250\)"):
        choose(budget, PAIR, FIXED, COST)


def test_limits_that_exclude_each_other_name_what_each_alone_allows() -> None:
    crossed = [candidate((10, 10, 0), (9, 1, 0.1), (1, 9, 0.1))]
    budget = Budget.of(macs=0.3, params=0.3)
    assert budget is not None
    with pytest.raises(BudgetUnreachable, match=r"macs=0.100, params=0.100, each alone"):
        choose(budget, crossed, {"macs": 0, "params": 0}, {"macs": 10, "params": 10})


def test_what_is_left_over_is_said_where_it_is_more_than_a_hundredth() -> None:
    budget = Budget({"macs": 0.5})
    assert slack_notes(budget, {"macs": 0.496}) == []
    assert slack_notes(budget, {"macs": 0.43}) == ["macs=0.5 is met by macs=0.430: no sizes come nearer from below"]
    assert slack_notes(Budget({"macs": 0.5, "params": 0.9}), {"macs": 0.498, "params": 0.6}) == []
    assert slack_notes(Budget(rule="energy", value=0.9), {"macs": 0.3}) == []
