from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.passes.finetuning.parameters import find_parameters


def found(graph):
    return {parameter.name: parameter for parameter in find_parameters(graph)}


def test_weights_biases_and_slopes_of_layers():
    graph = model(
        """g (float[N,3,8,8] x) => (float[N,5] y) {
            c = Conv(x, w, b)
            p = PRelu(c, slope)
            a = Add(p, shift)
            m = GlobalAveragePool(a)
            f = Flatten(m)
            y = Gemm(f, v)
        }""",
        w=normal(4, 3, 3, 3),
        b=normal(4),
        slope=normal(4, 1, 1),
        shift=normal(4, 1, 1),
        v=normal(4, 5),
    ).graph
    assert list(found(graph)) == ["w", "b", "slope", "v"]


def test_a_shared_weight_is_one_parameter():
    graph = model(
        "g (float[N,3,8,8] x) => (float[N,3,4,4] y) { a = Conv(x, w)\n y = Conv(a, w) }",
        w=normal(3, 3, 3, 3),
    ).graph
    assert list(found(graph)) == ["w"]


def test_what_a_computed_weight_is_made_of():
    graph = model(
        """g (float[N,3,8,8] x) => (float[N,4,6,6] y) {
            b = Gather(basis, index)
            w = Mul(b, scale)
            y = Conv(x, w)
        }""",
        basis=normal(2, 3, 3, 3),
        index=np.array([0, 1, 0, 1]),
        scale=normal(4, 1, 3, 3),
    ).graph
    assert list(found(graph)) == ["basis", "scale"]


def test_products_of_two_inputs_have_no_parameters():
    graph = model("g (float[2,3] x, float[3,4] z) => (float[2,4] y) { a = Relu(z)\n y = MatMul(x, a) }").graph
    assert not found(graph)


def test_zeros_of_a_weight_are_masked_and_those_of_a_bias_are_not():
    w = normal(2, 3, 1, 1)
    w[0, 1] = 0
    graph = model("g (float[N,3,4,4] x) => (float[N,2,4,4] y) { y = Conv(x, w, b) }", w=w, b=np.zeros(2, "f")).graph
    parameters = found(graph)
    assert parameters["b"].mask() is None
    mask = parameters["w"].mask()
    assert mask is not None
    assert np.array_equal(mask == 0, w == 0)


@pytest.mark.parametrize("axis", [None, 0])
def test_integers_are_trained_as_the_floats_they_stand_for(axis):
    codes = np.random.default_rng(0).integers(-127, 128, (4, 3, 1, 1)).astype(np.int8)
    scale = np.array(0.1, "f") if axis is None else np.array([0.1, 0.2, 0.3, 0.4], "f")
    attribute = "" if axis is None else "<axis=0>"
    graph = model(
        f"g (float[N,3,4,4] x) => (float[N,4,4,4] y) {{ w = DequantizeLinear{attribute}(q, s, z)\n y = Conv(x, w) }}",
        q=codes,
        s=scale,
        z=np.zeros(scale.shape, np.int8),
    ).graph
    parameters = found(graph)
    assert list(parameters) == ["q"]
    parameter = parameters["q"]
    np.testing.assert_allclose(parameter.values, codes * scale.reshape(-1, 1, 1, 1), rtol=1e-6)
    assert np.array_equal(parameter.stored(parameter.values), codes)
    parameter.write(Rewriter(graph), parameter.values + 1e6)
    assert (parameter.constant.values == 127).all()
    assert parameter.constant.values.dtype == np.int8


def test_biases_between_pairs_are_stored_in_whole_steps() -> None:
    text = """g (float[N,2,4,4] x) => (float[N,3,4,4] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        v = DequantizeLinear<axis=0>(w, t, u) y = Conv(d, v, b) }"""
    step = np.float32(0.5) * np.float32([0.1, 0.2, 0.4])
    graph = model(
        text,
        s=np.float32(0.5),
        z=np.int8(0),
        w=np.ones((3, 2, 1, 1), np.int8),
        t=np.float32([0.1, 0.2, 0.4]),
        u=np.zeros(3, np.int8),
        b=np.zeros(3, np.float32),
    ).graph
    _, bias = find_parameters(graph)
    assert bias.step == pytest.approx(step)
    assert bias.stored(np.float32([0.52, -0.26, 0.11])) == pytest.approx(step * [10, -3, 1], abs=1e-6)
