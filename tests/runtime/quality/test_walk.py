"""Two networks, run once over samples, feed every comparison."""

from __future__ import annotations

from collections.abc import Mapping

import builders
import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.runtime.quality.comparison import Accuracy, Agreement
from onnx_compress.runtime.quality.distances import Divergence, RelativeError
from onnx_compress.runtime.quality.verdict import verdict_of_run
from onnx_compress.runtime.quality.walk import compared
from onnx_compress.runtime.session import Session

TEXT = "g (float[N,4] x) => (float[N,7] y) { y = MatMul(x, w) }"
DATA = builders.Images(builders.normal(300, 4), np.arange(300) % 7)


class Counting(Session):
    """Counts its runs."""

    runs = 0

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.runs += 1
        return super().run(feeds)


def session(seed: int = 0, text: str = TEXT) -> Counting:
    return Counting(builders.proto(text, w=builders.normal(4, 7, seed=seed)))


def test_all_comparisons_come_from_one_run() -> None:
    one, two = session(), session(1)
    labels = DATA.labels
    assert labels is not None
    figures = compared(
        one, two, DATA, Agreement(), RelativeError(), Accuracy(labels), Accuracy(labels, 5), Divergence()
    )
    assert one.runs == two.runs == 3, "300 samples in batches of 128"
    a, b = (DATA.x @ builders.normal(4, 7, seed=seed) for seed in (0, 1))
    first, second = (side.argmax(1) for side in (a, b))
    assert figures[0].value == pytest.approx((first == second).mean())
    assert figures[1].value == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a), rel=1e-5)
    assert (figures[2].original, figures[2].value) == pytest.approx(
        ((first == labels).mean(), (second == labels).mean())
    )
    among = (b.argsort(1)[:, -5:] == labels[:, None]).any(axis=1)
    assert figures[3].value == pytest.approx(among.mean())
    p, q = (side - np.log(np.exp(side).sum(axis=1, keepdims=True)) for side in (a, b))
    assert figures[4].value == pytest.approx((np.exp(p) * (p - q)).sum(axis=1).mean(), rel=1e-5)


def test_a_session_beside_itself_runs_once() -> None:
    one = session()
    assert compared(one, one, DATA, Agreement())[0].value == 1.0
    assert one.runs == 3


def test_labels_beyond_the_classes() -> None:
    one = session()
    with pytest.raises(CompressError, match="expected labels 0 to 6, found 9"):
        compared(one, one, DATA, Accuracy(np.full(300, 9)))


def test_networks_of_other_tasks() -> None:
    with pytest.raises(CompressError, match="outputs differ in shape"):
        compared(session(), Session(builders.proto(TEXT.replace("N,7", "N,5"), w=builders.normal(4, 5))), DATA)


def test_a_verdict_is_all_that_the_outputs_say() -> None:
    one, two = (builders.model(TEXT, w=builders.normal(4, 7, seed=seed)).graph for seed in (0, 1))
    found = verdict_of_run(one, two, Context(data=DATA), DATA)
    assert found is not None and found.accuracy is not None
    assert (found.judged.metric, found.judged.samples) == ("agreement", 300)
    assert found.distance is not None and found.distance > 0.5 and 0 < found.accuracy.value < 1


def test_beside_the_users_own_metric_it_holds_what_the_samples_say() -> None:
    one, two = (builders.model(TEXT, w=factor * builders.normal(4, 7)).graph for factor in (1, 2))
    ctx = Context(RunOptions(metric=lambda predict: float(predict({"x": np.ones((1, 4), np.float32)})["y"].max())))
    alone, beside = (verdict_of_run(one, two, ctx, data) for data in (None, DATA))
    assert alone is not None and beside is not None and alone.distance is None
    assert alone.judged == beside.judged and alone.judged.original == pytest.approx(alone.judged.value / 2)
    assert beside.distance == pytest.approx(1.0) and beside.accuracy is not None


def test_without_samples_there_is_none() -> None:
    graph = builders.model(TEXT, w=builders.normal(4, 7)).graph
    assert verdict_of_run(graph, graph, Context(), None) is None
