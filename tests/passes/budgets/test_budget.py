"""Budgets: what may be combined, and what is left over."""

from __future__ import annotations

import pytest
from onnx_compress.passes.budgets.budget import Budget, slack_notes


@pytest.mark.parametrize("other", [{"macs": 0.5}, {"rank": 4}, {"accuracy_drop": 1.0}])
def test_a_rule_stands_alone(other: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected one budget, or several of macs, params, bytes, latency"):
        Budget.of(energy=0.9, **other)


def test_nothing_given_is_no_budget() -> None:
    assert Budget.of(macs=None, energy=None) is None


def test_what_is_left_over_is_said_where_it_is_more_than_a_hundredth() -> None:
    budget = Budget({"macs": 0.5})
    assert slack_notes(budget, {"macs": 0.496}) == []
    assert slack_notes(budget, {"macs": 0.43}) == ["macs=0.5 is met by macs=0.430: no sizes come nearer from below"]
    assert slack_notes(Budget({"macs": 0.5, "params": 0.9}), {"macs": 0.498, "params": 0.6}) == []
    assert slack_notes(Budget(rule="energy", value=0.9), {"macs": 0.3}) == []
