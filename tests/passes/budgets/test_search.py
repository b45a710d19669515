"""The search finds the smallest share that passes, in few trials, on samples that no trial was fitted on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.data import Data
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.passes.budgets.budget import Budget, BudgetUnreachable
from onnx_compress.passes.budgets.search import TRIALS, BudgetSearch, SearchOutcome, search_smallest
from onnx_compress.runtime.quality.judge import CHOICES, SampleJudge
from onnx_compress.runtime.quality.own_metric import own_metric
from scipy.stats import binomtest


def linear() -> Model:
    weight = np.eye(8, dtype=np.float32)
    return builders.model("g (float[N,8] x) => (float[N,8] y) { y = MatMul(x, w) }", w=weight)


def rows(labels: bool = False) -> builders.Images:
    x = builders.normal(2000, 8, seed=3)
    return builders.Images(x, x.argmax(1) if labels else None)


def spoil(graph: gs.Graph, macs: float, data: Data | None) -> float:
    """The fewer MACs the more noise; impossible below a fifth."""
    if macs < 0.2:
        raise BudgetUnreachable("too small")
    (node,) = graph.nodes
    noise = builders.normal(8, 8, seed=1) * (1 - macs) ** 2
    node.inputs[1] = gs.Constant("v", np.eye(8, dtype=np.float32) + noise)
    return macs


def searched(budget: Budget, data: builders.Images, attempt: object = spoil) -> SearchOutcome:
    ctx = Context(data=data)
    return search_smallest(linear().graph, ctx, BudgetSearch.of(budget, ctx, linear().graph), attempt)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("wanted", [0.8, 0.9, 0.97])
def test_the_agreement_is_met_and_not_by_much_more(wanted: float) -> None:
    outcome = searched(Budget(rule="agreement", value=wanted), rows())
    assert outcome.best is not None
    assert len(outcome.trials) <= TRIALS
    loss = 1 - wanted
    assert loss - 0.015 <= outcome.best.loss <= loss + 1e-9
    failed = [judged.macs for judged in outcome.trials if judged.loss > loss]
    assert all(macs < outcome.best.macs for macs in failed)
    assert f"agreement={wanted:g}: macs={outcome.best.macs:.3f} by {len(outcome.trials)} trials" in outcome.note()
    assert outcome.metrics()["agreement"] == pytest.approx(1 - outcome.best.loss)
    trace = outcome.trace()
    assert (trace.rule, trace.allowed) == ("agreement", pytest.approx(wanted))
    assert [trial.macs for trial in trace.tried if not trial.passed] == failed
    assert all(trial.bound <= trial.value for trial in trace.tried)


def test_the_drop_is_measured_against_labels() -> None:
    outcome = searched(Budget(rule="accuracy_drop", value=5.0), rows(labels=True))
    assert outcome.best is not None
    assert 3 <= outcome.metrics()["accuracy_drop"] <= 5
    assert outcome.metrics()["accuracy_drop_bound"] > outcome.metrics()["accuracy_drop"]


def test_an_error_is_searched_for_where_outputs_are_values() -> None:
    outcome = searched(Budget(rule="error", value=0.2), rows())
    assert outcome.best is not None
    assert 0.15 <= outcome.metrics()["error"] <= 0.2 < 1.2 * outcome.metrics()["error_bound"]
    assert "error=0.2: macs=" in outcome.note()


@pytest.mark.parametrize(
    ("tail", "expected"),
    [("y = Relu(a)", "agreement=0.97"), ("r = Relu(a) y = Reshape(r, to)", "error=0.1")],
)
def test_the_default_follows_the_outputs(tail: str, expected: str) -> None:
    shape = "N,8" if tail.startswith("y") else "N,2,4"
    text = f"g (float[N,8] x) => (float[{shape}] y) {{ a = MatMul(x, w) {tail} }}"
    graph = builders.model(text, w=builders.normal(8, 8), to=np.array([0, 2, 4])).graph
    assert str(BudgetSearch.default(Context(data=rows()), graph)) == expected
    assert BudgetSearch.default(Context(data=builders.Images(builders.normal(40, 8))), graph) is None


@pytest.mark.parametrize(("allowed", "trials"), [(0.999, 1), (0.8, TRIALS)])
def test_a_search_that_has_to_be_worth_something_starts_with_that(allowed: float, trials: int) -> None:
    shares: list[float] = []

    def watch(graph: gs.Graph, share: float, data: Data | None) -> float:
        shares.append(share)
        return spoil(graph, share - 0.5, data)

    outcome = searched(Budget(rule="agreement", value=allowed, worth=0.25), rows(), watch)
    assert shares[0] == 0.75
    assert len(shares) <= trials and (outcome.best is None) == (len(shares) == 1)


def test_shares_are_of_what_is_made_small() -> None:
    budget = Budget(rule="agreement", value=0.9, cost="latency")
    outcome = searched(budget, rows(), lambda graph, share, data: 0.5 * spoil(graph, share, data))
    assert outcome.best is not None
    assert outcome.best.macs == 0.5 * outcome.best.share
    assert f"agreement=0.9: latency={outcome.best.share:.3f} by" in outcome.note()
    assert outcome.best.macs in [trial.macs for trial in outcome.trace().tried]


def test_what_cannot_be_reached_is_said_with_the_nearest() -> None:
    def hopeless(graph: gs.Graph, macs: float, data: Data | None) -> float:
        return spoil(graph, 0.2 + 0.1 * macs, data)

    outcome = searched(Budget(rule="agreement", value=0.99), rows(), hopeless)
    assert outcome.best is None
    assert len(outcome.trials) <= TRIALS
    assert "agreement=0.99 cannot be reached: the nearest of" in outcome.note()
    assert "agreement" not in outcome.metrics()


def test_a_trial_that_loses_nothing_does_not_mislead_the_search() -> None:
    def late(graph: gs.Graph, macs: float, data: Data | None) -> float:
        return spoil(graph, min(1.0, macs + 0.45), data)

    outcome = searched(Budget(rule="agreement", value=0.97), rows(), late)
    assert outcome.trials[0].loss == 0
    assert outcome.best is not None and outcome.best.share < 0.5 and outcome.best.loss > 0.015


def test_no_trial_is_fitted_on_the_samples_it_is_judged_on() -> None:
    seen: set[float] = set()

    def watch(graph: gs.Graph, macs: float, data: Data) -> float:
        seen.update(float(value) for batch in data.batches(64) for value in batch["x"][:, 0])
        return spoil(graph, macs, data)

    data = rows()
    outcome = searched(Budget(rule="agreement", value=0.9), data, watch)
    judged = {float(value) for batch in outcome.search.judge.data.batches(64) for value in batch["x"][:, 0]}
    assert not seen & judged
    assert len(seen) + len(judged) == data.samples


@pytest.mark.parametrize(("differ", "count"), [(0, 500), (15, 500), (100, 1000)])
def test_the_bound_is_wilsons(differ: int, count: int) -> None:
    x = np.eye(8, dtype=np.float32)[np.zeros(count, int)]
    flipped = np.eye(8, dtype=np.float32)[np.r_[np.ones(differ, int), np.zeros(count - differ, int)]]
    judge = SampleJudge.of(linear().graph, builders.Images(flipped))
    search = BudgetSearch("agreement", 0.1, builders.Images(x), judge)
    trial = linear().graph
    trial.nodes[0].inputs[1] = gs.Constant("v", _first())
    judged = search.judged(0.5, 0.5, trial)
    assert judged.loss == pytest.approx(differ / count)
    expected = binomtest(differ, count).proportion_ci(0.9, method="wilson").high
    assert judged.bound == pytest.approx(expected, rel=1e-3)


def _first() -> np.ndarray:
    """Sends class 1 to class 0."""
    weight = np.eye(8, dtype=np.float32)
    weight[1] = weight[0]
    return weight


@pytest.mark.parametrize(
    ("budget", "data", "words"),
    [
        (Budget(rule="agreement", value=0.9), None, "agreement needs data"),
        (Budget(rule="agreement", value=0.9), builders.Images(np.zeros((20, 8), np.float32)), "give at least 64"),
        (Budget(rule="accuracy_drop", value=1.0), rows(), "accuracy-drop needs labelled data"),
    ],
)
def test_what_is_missing_is_said(budget: Budget, data: builders.Images | None, words: str) -> None:
    with pytest.raises(CompressError, match=words):
        BudgetSearch.of(budget, Context(data=data), linear().graph)


@pytest.mark.parametrize(
    ("metric", "expected"), [("error", "error=0.1"), ("accuracy", "accuracy-drop=1"), ("agreement", "agreement=0.97")]
)
def test_the_default_follows_the_metric_that_is_asked_for(metric: str, expected: str) -> None:
    ctx = Context(RunOptions(metric=metric), rows(labels=True))
    assert str(BudgetSearch.default(ctx, linear().graph)) == expected


def by_own(scale: float, offset: float = 0.0, calls: list[float] | None = None) -> Context:
    """Judged by how far outputs are from the inputs, times `scale` below 1 + `offset`."""
    x = builders.normal(50, 8)

    def own(predict: Any) -> float:
        error = float(np.square(predict({"x": x})["y"] - x).mean())
        if calls is not None:
            calls.append(error)
        return scale * (1 + offset - error)

    return Context(RunOptions(metric=own), rows(), metric=own_metric(own, CHOICES))


def dropped(ctx: Context, value: float) -> SearchOutcome:
    graph = linear().graph
    return search_smallest(graph, ctx, BudgetSearch.of(Budget(rule="metric_drop", value=value), ctx, graph), spoil)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0, 1e6])
def test_a_metric_may_have_any_unit(scale: float) -> None:
    calls: list[float] = []
    outcome = dropped(by_own(scale, calls=calls), 0.04 * scale)
    assert outcome.best is not None and len(calls) == 1 + len(outcome.trials)
    sought, loss = outcome.search.sought / scale, outcome.best.loss / scale
    assert sought + np.sqrt(sought * 0.96 / 50) == pytest.approx(0.04), "a standard error of 50 samples below"
    assert sought / 2 <= loss <= sought * (1 + 1e-6)
    assert outcome.metrics() == {"trials": len(outcome.trials), "metric_drop": outcome.best.loss}
    assert f"metric-drop={0.04 * scale:.4g}: macs=" in outcome.note()
    assert f"judged by own(), {scale:.4g} of the original: metric-drop={outcome.best.loss:.4g}" in outcome.note()
    assert "confidence" not in outcome.note()
    assert f"; {0.04 * scale - sought * scale:.2g} was kept for the error of that figure" in outcome.note()


@pytest.mark.parametrize("offset", [-1.0, -3.0])
def test_a_metric_may_be_zero_or_negative(offset: float) -> None:
    outcome = dropped(by_own(1.0, offset), 0.04)
    assert outcome.best is not None and 0 < outcome.best.loss <= 0.04


def test_what_is_within_the_bound_without_a_margin_is_taken_where_nothing_is_below_it() -> None:
    def coarse(graph: gs.Graph, share: float, data: Data | None) -> float:
        return spoil(graph, min(share, 0.778), data)

    ctx = by_own(1.0)
    search = BudgetSearch.of(Budget(rule="metric_drop", value=0.02), ctx, linear().graph)
    outcome = search_smallest(linear().graph, ctx, search, coarse)
    assert outcome.best is not None and search.sought < outcome.best.loss <= 0.02
    assert "no margin is left" in outcome.note()


def test_of_a_command_no_error_is_known() -> None:
    ctx = Context(RunOptions(metric="echo 5 # {}"), rows())
    assert BudgetSearch.of(Budget(rule="metric_drop", value=1.0), ctx, linear().graph).margin == 0


def test_what_is_better_than_the_original_passes() -> None:
    ctx = by_own(-1.0, -2.0)
    outcome = dropped(ctx, 0.0)
    assert outcome.best is not None and outcome.best.loss < 0
    assert outcome.best.macs == min(trial.macs for trial in outcome.trials if trial.loss <= 0)


def test_trials_by_a_metric_are_fitted_on_all_samples() -> None:
    ctx = by_own(1.0)
    search = BudgetSearch.of(Budget(rule="metric_drop", value=0.1), ctx, linear().graph)
    assert (search.fitting, search.rows(100), search.samples) == (ctx.data, 100, 0)


@pytest.mark.parametrize(
    ("options", "value", "words"),
    [
        ({}, 1.0, "metric-drop=1: metric-drop is in the units of a metric of your own .* or agreement=0.97"),
        ({"metric": "error"}, 1.0, "or error=0.1"),
        ({"metric": sum}, 1.0, "metric-drop=1: own.. of the original is 0.5, .* units: metric-drop=0.01"),
    ],
)
def test_a_drop_in_no_unit_is_refused(options: dict[str, Any], value: float, words: str) -> None:
    ctx = replace(by_own(0.5), options=RunOptions(**options)) if "metric" in options else Context(data=rows())
    if options.get("metric") == "error":
        ctx.metric = None
    with pytest.raises(UsageError, match=words):
        BudgetSearch.of(Budget(rule="metric_drop", value=value), ctx, linear().graph)


def test_of_accuracy_a_drop_is_points() -> None:
    ctx = Context(RunOptions(metric="accuracy"), rows(labels=True))
    search = BudgetSearch.of(Budget(rule="metric_drop", value=2.0), ctx, linear().graph)
    assert (search.rule, search.allowed) == ("accuracy_drop", 0.02)


def test_by_a_metric_of_the_users_the_default_may_lose_as_large_a_share_of_it() -> None:
    assert str(BudgetSearch.default(by_own(50.0), linear().graph)) == "metric-drop=1.5"


def test_trials_say_which_they_are_and_how_long_the_others_may_take() -> None:
    stages: list[str] = []

    def listen(stage: str, total: int) -> Any:
        stages.append(stage)
        return silent(stage, total)

    dropped(replace(by_own(50.0), progress=listen), 2.0)
    assert stages[:3] == ["own() of the original", "budget search, at most 6 trials", "trial 1 of at most 6"]
    assert "own()" in stages and "trial 2 of at most 6, about 0 s left" in stages


def test_one_output_may_lose_twice_what_all_may():
    """The first output is spoiled, the second is not: their mean is half of the first."""
    text = "g (float[N,8] x) => (float[N,8] y, float[N,8] z) { y = MatMul(x, w) z = MatMul(x, u) }"
    subject = builders.model(text, w=np.eye(8, dtype=np.float32), u=np.eye(8, dtype=np.float32))
    ctx = Context(RunOptions(metric="error"), rows())
    search = BudgetSearch.of(Budget(rule="error", value=0.2), ctx, subject.graph)

    def attempt(graph: gs.Graph, share: float, data: Data | None) -> float:
        spoiled = np.eye(8, dtype=np.float32) * (1 + (1 - share))
        graph.nodes[0].inputs[1] = gs.Constant("v", spoiled)
        return share

    found = search_smallest(subject.graph, ctx, search, attempt)
    assert found.best is not None
    assert 2 * found.best.loss == pytest.approx(1 - found.best.share, abs=0.02)
    assert 0.36 < 1 - found.best.share <= 0.4
