"""Raising an opset: models older than onnxruntime reads, whose initializers are listed as inputs."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal, run
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.opset import raise_opset

B = normal(4, seed=1)
TEXT = "g (float[1,3,8,8] x, float[4,3,3,3] w) => (float[1,4,6,6] y) { c = Conv(x, w) y = Add(c, c) }"


@pytest.mark.parametrize("opset", [7, 13])
def test_what_is_listed_as_an_input_stays_a_weight(opset: int):
    weight, x = normal(4, 3, 3, 3), normal(1, 3, 8, 8)
    old, expected = model(TEXT, 6, 3, w=weight), run(model(TEXT, 13, 3, w=weight), x=x)["y"]
    assert raise_opset(old.graph, opset) is None
    assert (old.graph.opset, [tensor.name for tensor in old.graph.inputs]) == (opset, ["x"])
    np.testing.assert_allclose(run(old, x=x)["y"], expected, rtol=1e-5, atol=1e-5)


def test_a_newer_graph_stays_as_it_is():
    new = model(TEXT, 13, 3, w=normal(4, 3, 3, 3))
    assert raise_opset(new.graph, 7) is None
    assert new.graph.opset == 13


A = "float[2,4,6,6] x"


def legacy(body: str, opset: int = 6, inputs: str = A, **weights: np.ndarray) -> Model:
    return model(f"g ({inputs}) => (float[N,C,H,W] y) {{ {body} }}", opset, 4, **weights)


def raised(body: str, opset: int = 6, **values: np.ndarray) -> np.ndarray:
    """What the model computes at opset 13; `z` is an input, others are stored."""
    inputs = A + "".join(f", float[{','.join(map(str, values[name].shape))}] {name}" for name in values if name == "z")
    net = legacy(body, opset, inputs, **{name: value for name, value in values.items() if name != "z"})
    assert raise_opset(net.graph, 13) is None
    return run(net, x=normal(2, 4, 6, 6), **{name: value for name, value in values.items() if name == "z"})["y"]


@pytest.mark.parametrize("name", ["b", "z"])
@pytest.mark.parametrize("opset", [1, 5, 6])
@pytest.mark.parametrize(
    ("axis", "shape", "aligned"),
    [(1, (4,), (4, 1, 1)), (2, (6,), (6, 1)), (3, (6,), (6,)), (0, (2, 4), (2, 4, 1, 1)), (1, (4, 6), (4, 6, 1))],
)
def test_an_operand_begins_at_its_axis(
    axis: int, shape: tuple[int, ...], aligned: tuple[int, ...], opset: int, name: str
):
    x, operand = normal(2, 4, 6, 6), normal(*shape, seed=1)
    found = raised(f"y = Mul<broadcast = 1, axis = {axis}>(x, {name})", opset, **{name: operand})
    np.testing.assert_allclose(found, x * operand.reshape(aligned), rtol=1e-6)


def test_an_operand_that_would_fit_elsewhere_too():
    """Four channels, four columns: the converter takes the columns."""
    net = model(
        "g (float[1,4,4,4] x) => (float[1,4,4,4] y) { c = Relu(x) y = Add<broadcast=1, axis=1>(c, b) }", 6, 4, b=B
    )
    assert raise_opset(net.graph, 13) is None
    x = normal(1, 4, 4, 4)
    np.testing.assert_allclose(run(net, x=x)["y"], np.maximum(x, 0) + B.reshape(4, 1, 1), rtol=1e-6)


def test_results_of_old_arithmetic_have_ranks():
    found = raised("a = Sub<broadcast = 1, axis = 1>(x, b) c = Abs(a) y = Add<broadcast = 1, axis = 1>(c, b)", b=B)
    column = B.reshape(4, 1, 1)
    np.testing.assert_allclose(found, np.abs(normal(2, 4, 6, 6) - column) + column, rtol=1e-6)


def test_a_slope_is_one_per_channel():
    x = normal(2, 4, 6, 6)
    np.testing.assert_allclose(raised("y = PRelu(x, b)", b=B), np.where(x < 0, x * B.reshape(4, 1, 1), x), rtol=1e-6)
    np.testing.assert_allclose(raised("y = PRelu(x, b)", b=B[:1]), np.where(x < 0, x * B[0], x), rtol=1e-6)


def test_scalars_and_trailing_operands_stay():
    x, row = normal(2, 4, 6, 6), normal(6)
    np.testing.assert_allclose(raised("y = Div<broadcast = 1, axis = 1>(x, b)", b=B[:1]), x / B[0], rtol=1e-6)
    np.testing.assert_allclose(raised("y = Add<broadcast = 1>(x, b)", b=row), x + row, rtol=1e-6)
    np.testing.assert_allclose(raised("y = Add(x, x)"), x + x, rtol=1e-6)


def test_comparisons_are_raised_too():
    x, body = normal(2, 4, 6, 6), "a = Greater<broadcast = 1, axis = 1>(x, b) y = Cast<to = 1>(a)"
    np.testing.assert_array_equal(raised(body, b=B), (x > B.reshape(4, 1, 1)).astype(np.float32))


def test_attributes_that_opset_7_dropped():
    stored = {name: np.full(4, value, np.float32) for name, value in (("s", 2), ("o", 1), ("m", 0), ("v", 1))}
    body = "d = Dropout<is_test = 1>(x) n = BatchNormalization<is_test = 1>(d, s, o, m, v) y = Identity(n)"
    np.testing.assert_allclose(raised(body, **stored), 2 * normal(2, 4, 6, 6) + 1, atol=1e-4)
    up = raised("y = Upsample<height_scale = 2.0, width_scale = 1.0>(x)", 6)
    np.testing.assert_array_equal(up, normal(2, 4, 6, 6).repeat(2, axis=2))


def test_an_axis_that_does_not_fit_is_named():
    net = legacy("[sum] y = Add<broadcast = 1, axis = 3>(x, b)", b=normal(4, 6))
    reason = raise_opset(net.graph, 13)
    assert reason is not None and "node 'sum': axis=3 does not fit operands of rank 4 and 2" in reason
