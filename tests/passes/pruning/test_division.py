"""Division of a budget over groups: it holds, nothing fits back in, and the allowed numbers are kept to."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.budgets.budget import Budget, BudgetUnreachable
from onnx_compress.passes.pruning.candidates import PruningCriteria, allowed
from onnx_compress.passes.pruning.problem import PruningProblem

TEXT = """g (float[N,3,8,8] x) => (float[N,4,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    b = Conv<pads=[1,1,1,1]>(r, w2)
    s = Relu(b)
    y = Conv(s, w3)
}"""


def problem(align: int = 1) -> PruningProblem:
    shapes = {"w1": (12, 3, 3, 3), "w2": (16, 12, 3, 3), "w3": (4, 16, 1, 1)}
    weights = {name: builders.normal(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    graph = builders.model(TEXT, **weights).graph
    return PruningProblem.of(graph, Context(), PruningCriteria(None, align, 1, 1e-3), ("macs", "params"), None)


@pytest.mark.parametrize("rule", ["loss", "share", "interval", "even"])
@pytest.mark.parametrize("limits", [{"macs": 0.5}, {"macs": 0.9, "params": 0.4}])
def test_limits_hold(rule: str, limits: dict[str, float]) -> None:
    one = problem()
    one.divide(rule, Budget(limits))
    shares = one.shares()
    assert all(shares[unit] <= share for unit, share in limits.items())


@pytest.mark.parametrize("macs", [0.3, 0.5, 0.8])
def test_no_unit_fits_back_in(macs: float) -> None:
    one = problem()
    for index, gone in enumerate(one.divide("loss", Budget({"macs": macs}))):
        if gone:
            one.cost_model.move(index, gone - 1)
            assert one.shares()["macs"] > macs
            one.cost_model.move(index, gone)


def test_channels_that_no_conv_makes_or_reads_cost_nothing() -> None:
    """Between a ConvTranspose and another, as in the heads of text detectors."""
    text = TEXT.replace("y = Conv(s, w3)", "t = ConvTranspose(s, w4) r2 = Relu(t) y = ConvTranspose(r2, w5)")
    shapes = {"w1": (12, 3, 3, 3), "w2": (16, 12, 3, 3), "w4": (16, 6, 1, 1), "w5": (6, 4, 1, 1)}
    weights = {name: builders.normal(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    graph = builders.model(text, **weights).graph
    one = PruningProblem.of(graph, Context(), PruningCriteria(None, 1, 1, 1e-3), ("macs",), None)
    assert [each.group.size for each in one.candidates] == [12, 16, 6]
    assert one.divide("loss", Budget({"macs": 0.5}))[2] == 0
    assert one.shares()["macs"] <= 0.5


def test_loss_division_loses_no_more_than_the_same_share_of_all() -> None:
    def lost(rule: str) -> float:
        one = problem()
        gone = one.divide(rule, Budget({"macs": 0.5}))
        return sum(float(each.losses[count]) for each, count in zip(one.candidates, gone, strict=True))

    assert lost("loss") <= lost("share")


def test_a_limit_that_follows_from_another_changes_nothing() -> None:
    """Few parameters leave few MACs: to ask for those too is to ask for nothing, and costs nothing."""

    def lost(limits: dict[str, float]) -> float:
        one = problem()
        gone = one.divide("loss", Budget(limits))
        return sum(float(each.losses[count]) for each, count in zip(one.candidates, gone, strict=True))

    assert lost({"params": 0.3, "macs": 0.7}) <= lost({"params": 0.3})


def test_what_cannot_be_reached_is_said_with_the_smallest() -> None:
    with pytest.raises(BudgetUnreachable, match="smallest found is macs="):
        problem(align=4).divide("loss", Budget({"macs": 0.01}))


@pytest.mark.parametrize(
    ("size", "align", "minimum", "left"),
    [(8, 1, 6, [8, 7, 6]), (10, 4, 1, [10, 8, 4]), (4, 4, 1, [4]), (16, 8, 9, [16])],
)
def test_allowed_numbers(size: int, align: int, minimum: int, left: list[int]) -> None:
    np.testing.assert_array_equal(size - allowed(size, align, minimum), left)
