"""One rule of `fusion`, one test: the nodes of each kernel, named by what they write."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.compiler.costs.latency.fusion import fuse
from onnx_compress.compiler.costs.latency.precision import PrecisionRequest, Precisions
from onnx_compress.compiler.graph.shapes import infer_shapes

X = "float[1,4,8,8] x"
WEIGHTS = {
    "w": normal(4, 4, 3, 3), "v": normal(4, 4, 1, 1), "d": normal(4, 1, 3, 3), "wide": normal(4, 8, 1, 1),
    "k": normal(4), "c": np.ones((1, 4, 1, 1), np.float32),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "last": np.array([1, -1]), "s": np.float32([0.1]), "z": np.int8([0]),
}  # fmt: skip
SAME = "pads = [1, 1, 1, 1]"
DEPTHWISE = f"Conv<group = 4, {SAME}>"


def kernels(body: str, inputs: str = X, precision: PrecisionRequest = "fp16") -> list[str]:
    graph = model(f"g ({inputs}) => (float y) {{ {body} }}", **WEIGHTS).graph
    groups = fuse(graph, infer_shapes(graph), Precisions(graph, precision))
    return [" ".join(node.outputs[0].name for node in group.nodes) for group in groups]


def test_rule_1_shapes_are_computed_when_the_engine_is_built():
    assert kernels("n = Shape(x) r = Reshape(x, last) a = Conv(x, v) m = Add(n, n) y = Reshape(a, m)") == ["a"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Conv(x, v) y = Relu(a)", ["a y"]),
        ("a = Conv(x, v) b = BatchNormalization(a, k, k, k, k) y = Clip(b)", ["a b y"]),
        ("a = Conv(x, v) b = Mul(a, c) e = Add(b, c) f = Add(e, x) y = LeakyRelu(f)", ["a b e f y"]),
        ("a = Conv(x, v) b = Add(x, a) y = Relu(b)", ["a b y"]),
        ("a = Flatten(x) b = MatMul(a, big) e = Add(b, k) y = Relu(e)", ["b e y"]),
    ],
)
def test_rule_2_what_a_layer_takes_in(body: str, expected: list[str]):
    WEIGHTS["big"] = normal(256, 4)
    assert kernels(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("a = Conv(x, v) b = Relu(a) y = Add(b, x)", ["a b", "y"], id="activation before the Add"),
        pytest.param("a = Conv(x, v) b = Relu(a) y = Clip(b)", ["a b", "y"], id="a second activation"),
        pytest.param("a = Conv(x, v) y = Sigmoid(a)", ["a", "y"], id="another activation"),
        pytest.param("a = Conv(x, v) b = Relu(a) y = Mul(a, b)", ["a", "b y"], id="another reader"),
        pytest.param("a = Conv(x, v) p = GlobalAveragePool(a) y = Add(x, p)", ["a", "p", "y"], id="broadcast"),
        pytest.param("a = Conv(x, v) b = Conv(x, v) y = Add(a, b)", ["b", "a y"], id="one of two layers"),
    ],
)
def test_rule_2_what_it_does_not(body: str, expected: list[str]):
    assert kernels(body) == expected


def test_rule_2_the_output_of_the_graph_is_written():
    graph = model(f"g ({X}) => (float a, float y) {{ a = Conv(x, v) y = Relu(a) }}", **WEIGHTS).graph
    assert len(fuse(graph, infer_shapes(graph), Precisions(graph, "fp16"))) == 2


def test_rule_3_two_convs_are_two_kernels():
    assert kernels("a = Conv(x, v) y = Conv(a, v)") == ["a", "y"]


@pytest.mark.parametrize(("precision", "expected"), [("int8", ["a b e y"]), ("fp16", ["a b", "e y"])])
def test_rule_3_depthwise_and_pointwise_are_one_in_int8(precision: PrecisionRequest, expected: list[str]):
    assert kernels(f"a = {DEPTHWISE}(x, d) b = Relu(a) e = Conv(b, v) y = Relu(e)", precision=precision) == expected


@pytest.mark.parametrize("body", [f"a = {DEPTHWISE}(x, d) y = Conv(a, w)", f"a = Conv(x, v) y = {DEPTHWISE}(a, d)"])
def test_rule_3_needs_depthwise_first_and_1x1_second(body: str):
    assert kernels(body, precision="int8") == ["a", "y"]


def test_rule_4_pad():
    assert kernels("p = Pad(x, pads) y = Conv(p, w)") == ["p y"]
    assert kernels("p = Pad(x, pads) a = Conv(p, w) b = Relu(p) y = Conv(b, w)") == ["p", "a", "b", "y"]


def test_rule_5_pointwise_chains():
    assert kernels("a = Sigmoid(x) b = Mul(x, a) e = Exp(b) y = Add(e, c)") == ["a b e y"]
    assert kernels("a = Exp(x) p = MaxPool<kernel_shape = [2, 2]>(a) y = Neg(p)") == ["a", "p", "y"]


def test_rule_7_reshapes_and_transposes():
    assert kernels("f = Flatten(x) y = Neg(f)") == ["y"]
    assert kernels("p = GlobalAveragePool(x) t = Transpose<perm = [0, 2, 3, 1]>(p) y = Neg(t)") == ["p", "y"]
    assert kernels("t = Transpose<perm = [0, 2, 3, 1]>(x) y = Transpose<perm = [0, 3, 1, 2]>(t)") == ["t y"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("a = Relu(x) b = Exp(x) y = Concat<axis = 1>(a, b)", ["a", "b"], id="written in place"),
        pytest.param("a = Relu(x) y = Concat<axis = 1>(a, x)", ["a", "y"], id="model input"),
        pytest.param("a = Relu(x) b = Exp(x) y = Concat<axis = 2>(a, b)", ["a", "b", "y"], id="another axis"),
        pytest.param(
            "a = Relu(x) b = Exp(x) m = Concat<axis = 1>(a, b) n = Concat<axis = 1>(b, a) y = Mul(m, n)",
            ["a", "b", "n", "y"],
            id="second Concat",
        ),
        pytest.param(
            "a = Relu(x) b = Exp(x) m = Concat<axis = 1>(a, b) e = Neg(x) y = Concat<axis = 1>(m, e)",
            ["a", "b", "e"],
            id="nested",
        ),
    ],
)
def test_rule_8_concat(body: str, expected: list[str]):
    assert kernels(body) == expected


PAIR = "{0}q = QuantizeLinear({0}, s, z) {0}d = DequantizeLinear({0}q, s, z)"


def test_rule_9_pairs_are_absorbed():
    body = f"a = Conv(x, v) r = Relu(a) {PAIR.format('r')} y = Conv(rd, v)"
    assert kernels(body, precision="auto") == ["a r", "y"]
    assert kernels(body, precision="fp16") == ["a r", "y"]


def test_rule_9_a_pair_that_stands_alone():
    assert kernels(f"{PAIR.format('x')} y = Conv(xd, v)", precision="auto") == ["xq", "y"]
    read_twice = f"a = Conv(x, v) r = Relu(a) {PAIR.format('r')} b = Conv(rd, v) y = Add(b, r)"
    assert kernels(read_twice, precision="auto") == ["a r", "rq", "b y"]
    assert kernels(read_twice, precision="fp16") == ["a r", "b y"]


def test_rule_10_the_rest():
    assert kernels("a, b = Split<axis = 1>(x, halves) s = Softmax(a) y = Add(s, b)", X) == ["a", "a", "s", "y"]


WEIGHTS["halves"] = np.array([2, 2])
