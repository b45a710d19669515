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
ROWS = Images(normal(3, 4, seed=8))
MATRICES = (
    "g (float[N,8] x) => (float[N,5] y) { z = MatMul(x, m) a = Add(z, b) r = Relu(a) u = MatMul(r, n) y = Add(c, u) }"
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


def matrices(layer: str, bias: np.ndarray) -> Model:
    return model(f"g (float[3,4] x) => (float[3,5] y) {{ {layer} }}", m=normal(4, 5, seed=7), b=bias)


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


@pytest.mark.parametrize("target", TARGETS)
def test_what_an_add_adds_to_a_matmul_is_a_bias(target: str):
    """onnxruntime makes a Gemm of the two, and rounds its bias."""
    data, weights = Images(normal(200, 8, seed=8)), {"m": normal(8, 6, seed=1), "n": normal(6, 5, seed=3)}
    subject = quantize(model(MATRICES, **weights, b=normal(6, seed=2), c=normal(5, seed=4)), target, data)
    (default,) = Session(to_proto(subject), fused=True).run({"x": data.x}).values()
    assert distance(run(subject, x=data.x)["y"], default) < 1e-4


def test_a_bias_of_several_grids_stays_between_the_steps():
    text = TEXT % "a = Conv(x, v, c) r = Elu(a) y = Conv(r, v, c)"
    subject = quantize(model(text, v=normal(4, 4, 1, 1, seed=2), c=WEIGHTS["c"]), bias_correction=False)
    first, second = (node for node in subject.graph.nodes if node.op == "Conv")
    assert first.inputs[2] is second.inputs[2]
    np.testing.assert_array_equal(first.inputs[2].values, WEIGHTS["c"])


def test_a_shared_bias_that_shifts_move_is_shared_no_more():
    text = TEXT % "a = Conv(x, v, c) r = Relu(a) y = Conv(r, v, c)"
    subject = quantize(model(text, v=normal(4, 4, 1, 1, seed=2), c=WEIGHTS["c"]), bias_correction=False)
    (first, bias, step), (second, other, least) = steps(subject.graph)
    assert first.inputs[2] is not second.inputs[2]
    np.testing.assert_array_equal(bias, np.rint(bias / step) * step)
    np.testing.assert_array_equal(other, np.rint(other / least) * least)


def test_a_shared_bias_of_one_grid_stays_shared():
    text = TEXT % "a = Conv(x, v, c) r = Conv<strides = [1, 1]>(x, v, c) y = Concat<axis = 1>(a, r)"
    subject = quantize(model(text, v=normal(4, 4, 1, 1, seed=2), c=WEIGHTS["c"]), bias_correction=False)
    (first, bias, step), (second, _, _) = steps(subject.graph)
    assert first.inputs[2] is second.inputs[2]
    np.testing.assert_array_equal(bias, round_bias(WEIGHTS["c"], step))


@pytest.mark.parametrize(
    "bias",
    [normal(5, seed=6), normal(1, 5, seed=6), np.float32([0.3]), np.array(0.3, np.float32)],
    ids=lambda bias: str(bias.shape),
)
@pytest.mark.parametrize("layer", ["y = Gemm(x, m, b)", "z = MatMul(x, m) y = Add(b, z)"])
def test_biases_of_matrices(layer: str, bias: np.ndarray):
    subject = quantize(matrices(layer, bias), data=ROWS, bias_correction=False)
    (node,) = (each for each in subject.graph.nodes if each.op in ("Gemm", "MatMul"))
    one, two = (tensor.inputs[0].inputs[1].values for tensor in node.inputs[:2])
    found = resolve((node.outputs[0].outputs[0] if node.op == "MatMul" else node).inputs[2 if node.op == "Gemm" else 0])
    np.testing.assert_array_equal(found.reshape(-1), round_bias(np.broadcast_to(bias.reshape(-1), 5), one * two))
    assert run(subject, x=ROWS.x)["y"].shape == (3, 5)


@pytest.mark.parametrize("layer", ["y = Gemm(x, m, b)", "z = MatMul(x, m) y = Add(z, b)"])
def test_what_differs_from_row_to_row_stays(layer: str):
    bias = normal(3, 5, seed=6)
    subject = quantize(matrices(layer, bias), data=ROWS)
    np.testing.assert_array_equal(subject.graph.tensors()["b"].values, bias)


def test_what_is_added_to_two_matrices_stays():
    layer = "z = MatMul(x, m) k = MatMul(x, m) a = Add(z, k) y = Add(a, z)"
    before, after = (matrices(layer, normal(5)) for _ in range(2))
    quantize(after, data=ROWS)
    assert distance(run(before, x=ROWS.x)["y"], run(after, x=ROWS.x)["y"]) < 0.03


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
