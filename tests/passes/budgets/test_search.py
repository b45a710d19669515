"""The search finds the smallest share that passes, in few trials, on samples that no trial was fitted on."""

from __future__ import annotations

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.data import Data
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.budgets.budget import Budget, BudgetUnreachable
from onnx_compress.passes.budgets.search import TRIALS, BudgetSearch, SearchOutcome, search_smallest
from onnx_compress.runtime.quality.judge import SampleJudge
from scipy.stats import binomtest


def linear() -> Model:
    weight = np.eye(8, dtype=np.float32)
    return builders.model("g (float[N,8] x) => (float[N,8] y) { y = MatMul(x, w) }", w=weight)


def rows(labels: bool = False) -> builders.Images:
    x = builders.normal(2000, 8, seed=3)
    return builders.Images(x, x.argmax(1) if labels else None)


def spoil(graph: gs.Graph, macs: float, data: Data) -> None:
    """The fewer MACs the more noise; impossible below a fifth."""
    if macs < 0.2:
        raise BudgetUnreachable("too small")
    (node,) = graph.nodes
    noise = builders.normal(8, 8, seed=1) * (1 - macs) ** 2
    node.inputs[1] = gs.Constant("v", np.eye(8, dtype=np.float32) + noise)


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


def test_what_cannot_be_reached_is_said_with_the_nearest() -> None:
    def hopeless(graph: gs.Graph, macs: float, data: Data) -> None:
        spoil(graph, 0.2 + 0.1 * macs, data)

    outcome = searched(Budget(rule="agreement", value=0.99), rows(), hopeless)
    assert outcome.best is None
    assert len(outcome.trials) <= TRIALS
    assert "agreement=0.99 cannot be reached: the nearest of" in outcome.note()
    assert "agreement" not in outcome.metrics()


def test_no_trial_is_fitted_on_the_samples_it_is_judged_on() -> None:
    seen: set[float] = set()

    def watch(graph: gs.Graph, macs: float, data: Data) -> None:
        seen.update(float(value) for batch in data.batches(64) for value in batch["x"][:, 0])
        spoil(graph, macs, data)

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
    judged = search.judged(0.5, trial)
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
