"""The judge takes the metric that the outputs have, and refuses what they have not."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.runtime.quality.judge import SampleJudge, judge_of_run

CLASSES = "g (float[N,4] x) => (float[N,3] y) { y = MatMul(x, w) }"
VALUES = "g (float[N,4] x) => (float[N,3,2] y) { a = MatMul(x, v) y = Reshape(a, to) }"
WEIGHTS = {"w": builders.normal(4, 3), "v": builders.normal(4, 6), "to": np.array([0, 3, 2]), "two": np.array([-1, 2])}
LABELLED = builders.Images(builders.normal(64, 4), np.arange(64) % 3)


def graph(text: str):
    return builders.model(text, **{name: value for name, value in WEIGHTS.items() if f"{name})" in text}).graph


@pytest.mark.parametrize(("text", "metric"), [(CLASSES, "agreement"), (VALUES, "error")])
def test_by_the_outputs(text: str, metric: str) -> None:
    judge = SampleJudge.of(graph(text), LABELLED)
    assert judge.metric == metric
    found = judge.judge(graph(text))
    assert (found.loss, found.samples, found.metric) == (0.0, 64, metric)


def test_by_labels() -> None:
    found = SampleJudge.of(graph(CLASSES), LABELLED, "accuracy").judge(graph(CLASSES))
    chosen = (LABELLED.x @ WEIGHTS["w"]).argmax(1)
    assert found.value == pytest.approx((chosen == LABELLED.labels).mean())
    assert found.loss == 0


def test_several_rows_of_a_sample_are_no_samples_and_have_no_labels() -> None:
    rows = graph("g (float[N,4] x) => (float[M,2] y) { a = MatMul(x, v) y = Reshape(a, two) }")
    other = graph("g (float[N,4] x) => (float[M,2] y) { b = Neg(x) a = MatMul(b, v) y = Reshape(a, two) }")
    judge = SampleJudge.of(rows, LABELLED)
    assert (judge.metric, judge.labels) == ("agreement", None)
    found = judge.judge(other)
    assert (found.samples, found.value) == (64, 0)
    assert found.deviation == pytest.approx(np.sqrt(3) * np.sqrt(2 / 196 * 194 / 196 / 196))
    with pytest.raises(CompressError, match="no row of class scores per sample"):
        SampleJudge.of(rows, LABELLED, "accuracy")


def test_an_output_without_samples_is_judged_on_all_of_them() -> None:
    scalar = graph("g (float[N,4] x) => (float y) { a = MatMul(x, w) y = ReduceMax<keepdims = 0>(a) }")
    assert SampleJudge.of(scalar, LABELLED).judge(scalar).samples == 64


def test_an_error_can_be_asked_for_of_classes_too() -> None:
    assert SampleJudge.of(graph(CLASSES), LABELLED, "error").metric == "error"


@pytest.mark.parametrize(
    ("text", "metric", "words"),
    [
        (VALUES, "agreement", "agreement cannot be measured: the outputs are no row of class scores"),
        (CLASSES, "pixels", "pixels cannot be measured: the outputs are no map of class scores"),
        (VALUES, "accuracy", "accuracy cannot be measured"),
    ],
)
def test_what_the_outputs_have_not_is_refused(text: str, metric: str, words: str) -> None:
    with pytest.raises(CompressError, match=words):
        SampleJudge.of(graph(text), LABELLED, metric)


def test_networks_of_other_tasks_are_refused() -> None:
    with pytest.raises(CompressError, match="outputs differ in shape"):
        SampleJudge.of(graph(CLASSES), LABELLED).judge(
            builders.model(CLASSES.replace("N,3", "N,5"), w=builders.normal(4, 5)).graph
        )


def test_what_cannot_be_compared_is_judged_by_what_it_is_made_of() -> None:
    text = "g (float[N,4] x) => (int64[2,M] y) { a = MatMul(x, w) y = NonZero(a) }"
    judge = SampleJudge.of(builders.model(text, w=WEIGHTS["w"]).graph, LABELLED)
    assert judge.original.outputs == ["a"]
    assert judge.judge(builders.model(text, w=1.1 * WEIGHTS["w"]).graph).loss >= 0


@pytest.mark.parametrize(("metric", "expected"), [("auto", "agreement"), ("error", "error"), ("accuracy", "accuracy")])
def test_a_run_is_judged_by_what_it_asks_for(metric: str, expected: str) -> None:
    judge = judge_of_run(graph(CLASSES), Context(RunOptions(metric=metric), LABELLED))
    assert judge is not None and (judge.metric, judge.samples) == (expected, 64)


def test_a_run_judges_on_samples_that_no_fit_has_seen() -> None:
    held = builders.Images(builders.normal(32, 4))
    judge = judge_of_run(graph(CLASSES), Context(data=LABELLED, judging=held))
    assert judge is not None and judge.samples == 32
    assert judge_of_run(graph(CLASSES), Context()) is None


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"--metric: no metric 'agrement' \(did you mean 'agreement'"):
        judge_of_run(graph(CLASSES), Context(RunOptions(metric="agrement"), LABELLED))
