"""Without labels the outputs decide which weights are better, with labels the classes do."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np
import pytest
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.finetuning.judge import HeldOut
from onnx_compress.passes.finetuning.parameters import find_parameters
from onnx_compress.passes.finetuning.program import trained_name

TEXT = "g (float[N,4] x) => (float[N,3] y) { y = Gemm<transB=1>(x, w, b) }"


def scores(values: np.ndarray, labels: np.ndarray | None) -> tuple[HeldOut, tuple[float, ...]]:
    """Of `values` in the place of the weight, which `builders.normal(3, 4)` is."""
    graph = builders.model(TEXT, w=builders.normal(3, 4), b=np.zeros(3, np.float32)).graph
    parameters = find_parameters(graph)
    data = builders.Images(builders.normal(200, 4, seed=1), labels)
    judge = HeldOut(graph, parameters, graph.copy(), data, Context(), labels is not None, temperature=4.0)
    trained = {trained_name(one): values if one.values.ndim > 1 else one.values for one in parameters}
    return judge, judge(trained)


def test_outputs_that_are_nearer_are_better_though_fewer_classes_agree() -> None:
    weight = builders.normal(3, 4)
    judge, halved = scores(0.5 * weight, None)
    _, noisy = scores(weight + 0.1 * builders.normal(3, 4, seed=2), None)
    assert noisy > halved
    assert judge.figures(noisy)["agreement"] < 1.0
    figures = judge.figures(halved)
    assert figures["divergence"] > 0
    assert figures["agreement"] == 1.0
    assert figures["error"] == pytest.approx(0.5, rel=0.02)


MAP = "g (float[N,3,6,6] x) => (float[N,6,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
BOXES = "g (float[N,3,6,6] x) => (float[N,2,6,6] b, float[N,1,6,6] s) { b = Conv(x, w) s = Conv(x, v) }"


def held_out(text: str, count: int, weights: dict[str, np.ndarray], **options: Any) -> HeldOut:
    graph = builders.model(text, **weights).graph
    data = builders.Images(builders.normal(count, 3, 6, 6, seed=1))
    return HeldOut(graph, find_parameters(graph), graph.copy(), data, Context(RunOptions(**options)), temperature=4.0)


def scored(judge: HeldOut, **weights: np.ndarray) -> tuple[float, ...]:
    return judge({trained_name(one): weights[one.name] for one in judge.parameters})


def test_of_a_map_the_classes_of_its_positions_decide() -> None:
    weight = builders.normal(6, 3, 3, 3)
    judge = held_out(MAP, 20, {"w": weight})
    assert judge.names == ("pixels", "error")
    halved, noisy = scored(judge, w=0.5 * weight), scored(judge, w=weight + 0.2 * builders.normal(6, 3, 3, 3, seed=2))
    assert halved > noisy
    assert judge.figures(halved)["pixels"] == 1.0 and judge.figures(halved)["error"] > judge.figures(noisy)["error"]


def test_boxes_do_not_outweigh_scores() -> None:
    """Scores that are lost are worse than boxes, a thousand times as large, that are a little off."""
    boxes, scores = 1000 * builders.normal(2, 3, 1, 1), builders.normal(1, 3, 1, 1)
    judge = held_out(BOXES, 20, {"w": boxes, "v": scores})
    assert judge.names == ("error",)
    assert scored(judge, w=1.1 * boxes, v=scores) > scored(judge, w=boxes, v=0 * scores)


def test_the_users_own_metric_decides() -> None:
    weight = builders.normal(6, 3, 3, 3)
    ones = np.ones((1, 3, 6, 6), np.float32)
    judge = held_out(MAP, 20, {"w": weight}, metric=lambda predict: float(predict({"x": ones})["y"].max()))
    assert judge.names == ("<lambda>()", "pixels", "error")
    assert scored(judge, w=2 * weight) > scored(judge, w=weight)
    assert judge.figures(scored(judge, w=weight))["pixels"] == 1.0


@pytest.mark.parametrize(
    ("metric", "count", "names"),
    [
        ("auto", 100, ("divergence", "agreement", "error")),
        ("agreement", 100, ("divergence", "agreement", "error")),
        ("auto", 10, ("divergence", "error", "agreement")),
        ("error", 100, ("error",)),
    ],
)
def test_shares_of_few_samples_only_break_ties(metric: str, count: int, names: tuple[str, ...]) -> None:
    text = "g (float[N,3,6,6] x) => (float[N,7] y) { c = Conv(x, w) p = GlobalAveragePool(c) y = Flatten(p) }"
    assert held_out(text, count, {"w": builders.normal(7, 3, 3, 3)}, metric=metric).names == names


def test_with_labels_the_classes_decide() -> None:
    weight = builders.normal(3, 4)
    labels = (builders.normal(200, 4, seed=1) @ weight.T).argmax(1)
    judge, halved = scores(0.5 * weight, labels)
    _, noisy = scores(weight + 0.1 * builders.normal(3, 4, seed=2), labels)
    assert halved > noisy
    assert judge.figures(halved)["accuracy"] == 1.0
