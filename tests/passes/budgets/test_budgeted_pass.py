"""What passes with a budget have in common: options, refusals, defaults, what they take from the run."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import builders
import pytest
from onnx_compress.compiler.pipeline.base import Pass
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.registry import BUILTIN, find
from onnx_compress.passes.basis import Basis
from onnx_compress.passes.budgets import budgeted_pass
from onnx_compress.passes.budgets.budget import FREE
from onnx_compress.passes.budgets.budgeted_pass import BudgetedPass, SizingPass
from onnx_compress.passes.decomposition import base
from onnx_compress.passes.prune import Prune

SHARED = [
    *("macs", "params", "bytes", "latency", "agreement", "accuracy_drop", "error", "metric_drop"),
    *("objective", "precision", "clock", "batch", "threads", "power", "ridge"),
]
SIZING = [*SHARED, "energy", "align", "sensitivity", "sensitivity_file"]
OWN = {"power": "15W", "sensitivity_file": "own.json"}


def refusal(kind: type[Pass], options: dict[str, Any]) -> str:
    with pytest.raises(ValueError) as raised:
        kind(**options)
    return str(raised.value)


def test_every_pass_with_a_budget_has_the_same_options() -> None:
    assert [entry.name for entry in fields(BudgetedPass)] == SHARED
    budgeted = [kind for kind in map(find, BUILTIN) if issubclass(kind, BudgetedPass)]
    assert {Basis, Prune} < set(budgeted)
    for kind in budgeted:
        names = [entry.name for entry in fields(kind)]
        shared = SIZING if issubclass(kind, SizingPass) else SHARED
        assert names[: len(shared)] == shared
        assert all(entry.metadata["help"] for entry in fields(kind))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"align": 0}, "align=0: expected at least 1, at most 65536"),
        ({"ridge": 0.0}, "ridge=0.0: expected more than 0, at most 1000000"),
        ({"macs": 0.0}, "macs=0.0: expected more than 0, at most 1"),
        ({"macs": 5e6}, "macs=5000000.0: expected more than 0, at most 1"),
        ({"bytes": float("nan")}, "bytes=nan: expected more than 0, at most 1"),
        ({"latency": 1.5}, "latency=1.5: expected more than 0, at most 1"),
        ({"agreement": 97.0}, "agreement=97.0: expected more than 0, at most 1"),
        ({"accuracy_drop": -1.0}, "accuracy-drop=-1.0: expected at least 0, at most 100"),
        ({"metric_drop": -1.0}, "metric-drop=-1.0: expected at least 0"),
        (
            {"macs": 0.5, "agreement": 0.9},
            "macs and agreement are given: expected one budget, or several of macs, params, bytes, latency",
        ),
    ],
)
def test_bad_values_are_refused_in_the_same_words(options: dict[str, Any], message: str) -> None:
    assert refusal(Basis, options) == refusal(Prune, options) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 1.5}, "rank=1.5: expected a count, or a fraction of at most 1"),
        ({"rank": 0}, "rank=0: expected more than 0"),
        ({"metric_drop": -1.0}, "metric-drop=-1.0: expected at least 0"),
    ],
)
def test_what_a_decomposition_refuses(options: dict[str, Any], message: str) -> None:
    assert refusal(Basis, options) == message


@pytest.mark.parametrize("kind", [Basis, Prune])
def test_power_mode_and_sensitivity_file_default_to_those_of_the_run(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgeted_pass, "device_latency_model", lambda target, precision, mode, *_: mode)
    ctx = Context(RunOptions(sensitivity_file="run.json", power_mode="30W"))
    assert (kind().latency_model(ctx), kind()._sensitivity_file(ctx)) == ("30W", "run.json")
    assert (kind(**OWN).latency_model(ctx), kind(**OWN)._sensitivity_file(ctx)) == ("15W", "own.json")


@pytest.mark.parametrize("kind", [Basis, Prune])
def test_the_default_budget_depends_on_data(kind: type[Any]) -> None:
    notes: list[str] = []
    graph = builders.model("g (float[N,3] x) => (float[N,4] y) { y = MatMul(x, w) }", w=builders.normal(3, 4)).graph
    assert str(kind()._budget(graph, Context(data=builders.Images(builders.normal(64, 3))), notes)) == "agreement=0.97"
    assert budgeted_pass.NO_BUDGET not in notes
    assert str(kind()._budget(graph, Context(data=builders.Images(builders.normal(40, 3))), notes)) == ""
    assert notes.pop() == budgeted_pass.TOO_FEW
    found = kind()._budget(graph, Context(), notes)
    assert (found.rule, found.value) == ("energy", FREE)
    assert budgeted_pass.NO_BUDGET in notes


@pytest.mark.parametrize(("target", "cost"), [("xavier", "latency"), ("ort", "macs")])
def test_the_default_of_a_decomposition_saves_time_where_times_are_known(target: str, cost: str) -> None:
    notes: list[str] = []
    budget = Basis()._budget(
        builders.model("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }").graph,
        Context(RunOptions(target=target)),
        notes,
    )
    assert budget.cost == cost
    assert notes[1:] == [base.ONLY_FASTER if cost == "latency" else base.UNTIMED]


@pytest.mark.parametrize("kind", [Basis, Prune])
def test_options_are_spelled_where_they_differ_from_the_default(kind: type[Any]) -> None:
    assert str(kind(macs=0.5, align=8, ridge=0.01)) == f"{kind.name}:macs=0.5:ridge=0.01:align=8"
    assert str(kind(power="30W")) == f"{kind.name}:power=30W"
    assert str(kind()) == kind.name
