"""Constants resolved to numpy, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal, proto, run
from onnx import TensorProto, helper
from onnx_compress.compiler.graph.io import from_proto, to_proto
from onnx_compress.compiler.graph.weights import is_quantized, resolve

Q = np.arange(-12, 12, dtype=np.int8).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("attributes", "scale", "zero"),
    [
        ("", np.float32(0.5), np.int8(3)),
        ("<axis = 0>", np.array([0.5, 2], np.float32), np.array([1, -1], np.int8)),
        ("<axis = -1>", np.array([1, 2, 3, 4], np.float32), np.zeros(4, np.int8)),
        ("", np.array([1, 2, 3], np.float32), np.array([0, 5, 0], np.int8)),
    ],
)
def test_dequantize(attributes: str, scale: np.ndarray, zero: np.ndarray):
    source = model(
        f"g (float[2,3,4] x) => (float[2,3,4] y) {{ v = DequantizeLinear{attributes}(q, s, z) y = Add(x, v) }}",
        q=Q,
        s=np.asarray(scale),
        z=np.asarray(zero),
    )
    weight = source.graph.nodes[1].inputs[1]
    values = resolve(weight)
    assert values is not None
    np.testing.assert_array_equal(values, run(source, x=np.zeros((2, 3, 4), np.float32))["y"])
    assert is_quantized(weight)


@pytest.mark.parametrize(
    ("attributes", "scale", "zero"),
    [
        ("<axis = 0>", np.array([0.5, 0.01], np.float32), np.zeros(2, np.int8)),
        ("", np.float32(0.02), np.int8(3)),
        ("", np.float32(0.02), np.uint8(128)),
    ],
)
def test_quantize_then_dequantize(attributes: str, scale: np.ndarray, zero: np.ndarray):
    source = model(
        f"""g (float[2,30] x) => (float[2,30] y) {{
        q = QuantizeLinear{attributes}(w, s, z) v = DequantizeLinear{attributes}(q, s, z) y = Add(x, v) }}""",
        w=3 * normal(2, 30),
        s=np.asarray(scale),
        z=np.asarray(zero),
    )
    values = resolve(source.graph.nodes[2].inputs[1])
    assert values is not None
    np.testing.assert_allclose(values, run(source, x=np.zeros((2, 30), np.float32))["y"], atol=1e-6)


@pytest.mark.parametrize("zero", [np.float32(3), 128 * np.ones((2, 1, 1), np.float32)])
def test_arithmetic_on_codes(zero: np.ndarray):
    text = "g (float[2,3,4] x) => (float[2,3,4] y) { c = Cast<to = 1>(q) d = Sub(c, z) v = Mul(d, s) y = Add(x, v) }"
    source = model(text, q=Q.view(np.uint8), s=normal(2, 1, 1), z=np.asarray(zero))
    weight = source.graph.nodes[3].inputs[1]
    values = resolve(weight)
    assert values is not None
    np.testing.assert_array_equal(values, run(source, x=np.zeros((2, 3, 4), np.float32))["y"])
    assert not is_quantized(weight)


def test_arithmetic_that_does_not_fit_is_not_constant():
    source = model("g (float[2] x) => (float[2] y) { v = Mul(a, b) y = Add(x, v) }", a=normal(2), b=normal(3))
    assert resolve(source.graph.nodes[1].inputs[1]) is None


def test_what_depends_on_an_input_is_not_constant():
    source = model("g (float[2] x) => (float[2] y) { a = Identity(x) b = Neg(w) y = Add(a, b) }", w=normal(2))
    assert [resolve(tensor) for tensor in source.graph.nodes[-1].inputs] == [None, None]


def test_types_that_numpy_lacks_are_not_touched():
    content = proto("g (float[4] x) => (float[4] y) { c = Cast<to = 1>(w) y = Add(x, c) }", opset=21, ir=10)
    content.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, [4], [1, 2, -1, 0]))
    source = from_proto(content)
    assert resolve(source.graph.nodes[0].inputs[0]) is None
    assert to_proto(source).graph.initializer[0].data_type == TensorProto.INT4


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value_float = 2.5", np.float32(2.5)),
        ("value_int = 7", np.int64(7)),
        ("value_floats = [1.0, 2.0]", np.array([1, 2], np.float32)),
        ("value_ints = [1, 2]", np.array([1, 2])),
        ("value = int32[2] {1, 2}", np.array([1, 2], np.int32)),
    ],
)
def test_constant_nodes(attribute: str, expected: np.ndarray):
    source = model(f"g (float[2] x) => (float[2] y) {{ c = Constant<{attribute}>() y = Other(x, c) }}")
    values = resolve(source.graph.nodes[1].inputs[1])
    assert values is not None
    assert values.dtype == expected.dtype
    np.testing.assert_array_equal(values, expected)
