"""The loss of outputs: that of class scores and that of probabilities are one."""

from __future__ import annotations

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.graph.blocks import find_blocks
from onnx_compress.compiler.graph.copies import copy_graph
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.depth_removal.gaps import Gaps
from onnx_compress.passes.depth_removal.losses import SCALES, LossMeter, scaled_divergence

SCORES = """g (float[N,3,8,8] x) => (float[N,6] y) {
    t = Conv<pads=[1,1,1,1]>(x, w)
    a = Relu(t)
    b = Conv<pads=[1,1,1,1]>(a, u)
    c = Relu(b)
    d = Conv<pads=[1,1,1,1]>(c, v)
    e = Add(a, d)
    p = GlobalAveragePool(e)
    f = Flatten(p)
    y = Gemm<transB=1>(f, m)
}"""
PROBABILITIES = SCORES.replace("y = Gemm<transB=1>(f, m)", "z = Gemm<transB=1>(f, m) y = Softmax<axis=1>(z)")
SHAPES = {"w": (8, 3, 3, 3), "u": (8, 8, 3, 3), "v": (8, 8, 3, 3), "m": (6, 8)}
BATCHES = [{"x": builders.normal(16, 3, 8, 8, seed=seed)} for seed in (5, 6)]


def network(text: str, branch: float = 0.2) -> gs.Graph:
    """`branch`: the scale of its last weight."""
    scales = {"w": 0.3, "u": 0.2, "v": branch, "m": 2.0}
    drawn = {name: builders.normal(*shape, seed=seed) for seed, (name, shape) in enumerate(SHAPES.items())}
    return builders.model(text, **{name: np.float32(scales[name]) * values for name, values in drawn.items()}).graph


def losses(text: str, fitting: builders.Images | None) -> list[float]:
    """With a weaker branch, and without it."""
    graph = network(text)
    meter = LossMeter(graph, Context(data=fitting), fitting, BATCHES, 1e-3)
    (trial,) = meter.trials(Gaps(copy_graph(graph)), find_blocks(graph, infer_shapes(graph)).found[:1])
    return [meter.loss(network(text, 0.1)), trial.loss]


@pytest.mark.parametrize("fitting", [None, builders.Images(builders.normal(64, 3, 8, 8, seed=7))], ids=["", "fitted"])
def test_a_final_softmax_changes_no_loss(fitting: builders.Images | None) -> None:
    found, wanted = losses(PROBABILITIES, fitting), losses(SCORES, fitting)
    assert min(wanted) > 1e-4
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_scores_that_are_a_multiple_lose_nothing_at_their_best_scale() -> None:
    rows = builders.normal(8, 5)
    assert scaled_divergence(rows, rows / np.float32(SCALES[-1])) < 1e-9
