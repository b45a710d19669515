"""Biases of layers in INT8: on the grid that engines hold them in, so that these need not round them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import Images, model, normal, run
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.graph.weights import resolve
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.projection.grid import round_bias
from onnx_compress.passes.quantize import Quantize
from onnx_compress.runtime.session import Session

IMAGES = Images(normal(80, 4, 8, 8, seed=9))
TEXT = "g (float[N,4,8,8] x) => (float[N,C,H,W] y) { %s }"
WEIGHTS = {
    "w": normal(6, 4, 3, 3, seed=1),
    "b": normal(6, seed=3),
    "k": normal(6, 1, 3, 3, seed=4),
    "v": normal(4, 6, 1, 1, seed=2),
    "c": normal(4, seed=5),
}
CHAIN = TEXT % (
    "a = Conv<pads = [1, 1, 1, 1]>(x, w, b) r = Relu(a) d = Conv<group = 6, pads = [1, 1, 1, 1]>(r, k, b) "
    "s = Relu(d) e = Conv(s, v, c) t = Relu(e) y = Conv<pads = [1, 1, 1, 1]>(t, w)"
)
TARGETS = ("xavier", "trt10", "ort")


def quantize(subject: Model, target: str = "xavier", data: Images | None = IMAGES, **options: object) -> Model:
    Quantize(noise=1.0, **options).run(subject.graph, Context(RunOptions(target=target), data=data))
    return subject


def steps(graph: gs.Graph) -> Iterator[tuple[gs.Node, np.ndarray, np.ndarray]]:
    """Layers with a bias: it, and the step of their sums of products."""
    for node in graph.nodes:
        if node.op in ("Conv", "Gemm") and len(node.inputs) > 2:
            scales = [tensor.inputs[0].inputs[1].values for tensor in node.inputs[:2]]
            yield node, resolve(node.inputs[2]), scales[0] * scales[1]


def distance(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("correction", [True, False])
@pytest.mark.parametrize("target", TARGETS)
def test_biases_are_whole_steps(target: str, correction: bool):
    found = list(steps(quantize(model(CHAIN, **WEIGHTS), target, bias_correction=correction).graph))
    assert len(found) == (4 if correction else 3)
    for node, bias, step in found:
        assert bias.dtype == np.float32, node.name
        np.testing.assert_array_equal(bias, np.rint(bias / step) * step)


@pytest.mark.parametrize("target", TARGETS)
def test_a_default_session_gives_what_the_pairs_say(target: str):
    """Between the steps 4e-3 was between them; one value in the next code is 1e-4."""
    subject = quantize(model(CHAIN, **WEIGHTS), target)
    (default,) = Session(to_proto(subject), fused=True).run({"x": IMAGES.x}).values()
    assert distance(run(subject, x=IMAGES.x)["y"], default) < 5e-4


def test_a_bias_of_several_grids_stays_between_the_steps():
    text = TEXT % "a = Conv(x, v, c) r = Relu(a) y = Conv(r, v, c)"
    subject = quantize(model(text, v=normal(4, 4, 1, 1, seed=2), c=WEIGHTS["c"]), bias_correction=False)
    first, second = (node for node in subject.graph.nodes if node.op == "Conv")
    assert first.inputs[2] is second.inputs[2]
    np.testing.assert_array_equal(first.inputs[2].values, WEIGHTS["c"])


def test_a_shared_bias_of_one_grid_stays_shared():
    text = TEXT % "a = Conv(x, v, c) r = Conv<strides = [1, 1]>(x, v, c) y = Concat<axis = 1>(a, r)"
    subject = quantize(model(text, v=normal(4, 4, 1, 1, seed=2), c=WEIGHTS["c"]), bias_correction=False)
    (first, bias, step), (second, _, _) = steps(subject.graph)
    assert first.inputs[2] is second.inputs[2]
    np.testing.assert_array_equal(bias, round_bias(WEIGHTS["c"], step))


@pytest.mark.parametrize(
    "bias", [normal(5, seed=6), normal(1, 5, seed=6), np.float32([0.3]), np.array(0.3, np.float32)]
)
def test_biases_of_gemms(bias: np.ndarray):
    text = "g (float[N,4,8,8] x) => (float[N,5] y) { p = GlobalAveragePool(x) f = Flatten(p) y = Gemm(f, m, b) }"
    subject = quantize(model(text, m=normal(4, 5, seed=7), b=bias), bias_correction=False)
    ((_, found, step),) = steps(subject.graph)
    np.testing.assert_array_equal(found, round_bias(np.broadcast_to(bias.reshape(-1), 5), step))


@pytest.mark.parametrize(
    ("layer", "bias"),
    [("y = Gemm(x, m, b)", normal(3, 5, seed=6)), ("z = MatMul(x, m) y = Add(z, b)", normal(5, seed=6))],
    ids=["a bias per row", "an Add"],
)
def test_what_is_no_bias_of_the_layer_stays(layer: str, bias: np.ndarray):
    data = Images(normal(3, 4, seed=8))
    subject = quantize(model(f"g (float[3,4] x) => (float[3,5] y) {{ {layer} }}", m=normal(4, 5), b=bias), data=data)
    np.testing.assert_array_equal(subject.graph.tensors()["b"].values, bias)


def test_a_bias_that_callers_may_give_stays():
    text = "g (float[N,4,8,8] x, float[4] c) => (float[N,4,8,8] y) { y = Conv(x, v, c) }"
    subject = quantize(model(text, v=normal(4, 4, 1, 1, seed=2), c=WEIGHTS["c"]))
    (conv,) = (node for node in subject.graph.nodes if node.op == "Conv")
    assert conv.inputs[2].name == "c"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dead", ["input", "weight"])
def test_a_layer_that_is_dead_keeps_its_bias(dead: str, target: str):
    """Of a scale of 1 the steps would be as long as the biases."""
    before = "n = Abs(x) m = Neg(n) r = Relu(m)" if dead == "input" else "r = Relu(x)"
    weight = normal(4, 4, 1, 1, seed=2) * (dead == "input")
    subject = model(TEXT % f"{before} a = Conv(r, v, c) y = Relu(a)", v=np.float32(weight), c=WEIGHTS["c"] / 10)
    wanted = run(subject, x=IMAGES.x)["y"]
    quantize(subject, target)
    assert any(node.op == "QuantizeLinear" and node.inputs[0].name == "r" for node in subject.graph.nodes)
    (default,) = Session(to_proto(subject), fused=True).run({"x": IMAGES.x}).values()
    assert distance(wanted, default) < 0.005
    assert distance(wanted, run(subject, x=IMAGES.x)["y"]) < 0.005
