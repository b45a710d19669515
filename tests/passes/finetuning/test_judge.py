"""Without labels the outputs decide which weights are better, with labels the classes do."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.pipeline.context import Context
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


def test_with_labels_the_classes_decide() -> None:
    weight = builders.normal(3, 4)
    labels = (builders.normal(200, 4, seed=1) @ weight.T).argmax(1)
    judge, halved = scores(0.5 * weight, labels)
    _, noisy = scores(weight + 0.1 * builders.normal(3, 4, seed=2), labels)
    assert halved > noisy
    assert judge.figures(halved)["accuracy"] == 1.0
