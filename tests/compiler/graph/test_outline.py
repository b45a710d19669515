"""Models without their weights tell what they would take with them."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

import builders
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.graph.io import Model, digest, stored_size, to_outline, to_proto
from onnx_compress.compiler.graph.outline import graph_bytes
from onnx_compress.compiler.graph.protobuf_writer import write

CONV = "g (float[N,C,8,8] x) => (float[N,M,6,6] y) { y = Conv(x, w, b) }"
BRANCHES = """g (float[N,300] x, bool c) => (float[N,300] y) {
    a = Add(x, b)
    y = If(c) <
        then_branch = then () => (float[N,300] t) { t = Add(a, b) },
        else_branch = other () => (float[N,300] e) { e = Mul(a, d) }
    >
}"""


def written(model: Model) -> bytes:
    file = BytesIO()
    write(*to_outline(model), file.write)
    return file.getvalue()


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([np.float32, np.float16]))
def test_the_bytes_are_those_of_protobuf(channels: int, filters: int, dtype: type) -> None:
    text = CONV if dtype is np.float32 else CONV.replace("float[", "float16[")
    weights = {
        "w": builders.normal(filters, channels, 3, 3, dtype=dtype),
        "b": builders.normal(filters, dtype=dtype),
    }
    model = builders.model(text, **weights)
    assert written(model) == to_proto(model).SerializeToString(deterministic=True)
    assert stored_size(model) == to_proto(model).ByteSize()
    assert digest(model) == sha256(written(model)).hexdigest()


@pytest.mark.parametrize("size", [10, 127, 128, 3_600, 3_700, 600_000])
def test_lengths_of_every_size_count(size: int) -> None:
    model = builders.model("g (float[N] x) => (float[N] y) { y = Mul(x, w) }", w=builders.normal(size))
    proto = to_proto(model)
    assert written(model) == proto.SerializeToString(deterministic=True)
    assert stored_size(model) == proto.ByteSize()
    assert graph_bytes(model.graph) > 4 * size


def test_weights_that_branches_share_count_once() -> None:
    model = builders.model(BRANCHES, b=builders.normal(300), d=builders.normal(300))
    assert written(model) == to_proto(model).SerializeToString(deterministic=True)


def test_nothing_but_values_is_left_out() -> None:
    model = builders.model(CONV, w=builders.normal(32, 16, 3, 3), b=builders.normal(32))
    light, weights = to_outline(model)
    assert list(weights) == ["w"]
    whole = to_proto(model)
    for one, two in zip(light.graph.initializer, whole.graph.initializer, strict=True):
        assert (one.name, one.data_type, one.dims) == (two.name, two.data_type, two.dims)
        assert (one.data_location == onnx.TensorProto.EXTERNAL) == (one.name == "w")
    assert light.ByteSize() < 500
    np.testing.assert_array_equal(weights["w"].values, builders.normal(32, 16, 3, 3))
    assert to_proto(model) == whole
