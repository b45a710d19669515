"""Weights stored as codes come back bit by bit, in few bytes, and are seen in costs."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.graph.storage.computed import computed_convs
from onnx_compress.compiler.graph.storage.packed import Rebuilder, code_bits, pack, stored_size
from onnx_compress.passes.cleanup import fold_all

ARITHMETIC = 2 + 1 + 4  # the powers, the modulus and the shape
CONV = "g (float[N,4,8,8] x) => (float[N,6,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }"


def rebuilt(entries: np.ndarray, codes: np.ndarray, scales: np.ndarray | None = None, opset: int = 17) -> Model:
    model = builders.model(CONV, opset, w=builders.normal(*codes.shape), b=builders.normal(6))
    Rebuilder(Rewriter(model.graph)).rebuild(builders.node(model.graph, "Conv"), codes, entries, scales)
    model.graph.cleanup()
    return model


def draw(shape: tuple[int, ...], entries: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, entries, shape).astype(np.uint8)


@given(st.integers(1, 50), st.sampled_from([2, 4, 8]), st.integers(0, 99))
def test_bytes_hold_the_codes(count: int, bits: int, seed: int) -> None:
    codes = draw((count,), 2**bits, seed)
    stored = pack(codes, bits).astype(np.int64)
    share = 8 // bits
    back = np.concatenate([stored // 2 ** (bits * i) % 2**bits for i in range(share)])
    np.testing.assert_array_equal(back[:count], codes)
    assert len(stored) == -(-count // share)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from([2, 3, 4, 16, 17, 256]), st.booleans(), st.sampled_from([10, 13, 17]))
def test_the_graph_computes_the_weight(entries: int, scaled: bool, opset: int) -> None:
    codes, values = draw((6, 4, 3, 3), entries), np.sort(builders.normal(entries))
    scales = builders.normal(6, 1, 1, 1) if scaled else None
    model = rebuilt(values, codes, scales, opset)
    check_graph(model)
    weight = values[codes] if scales is None else values[codes] * scales
    dense = builders.model(CONV, opset, w=weight, b=builders.normal(6))
    x = builders.normal(2, 4, 8, 8, seed=3)
    np.testing.assert_array_equal(builders.run(model, x=x)["y"], builders.run(dense, x=x)["y"])


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (5, 3, 1, 1), (7, 3, 3, 3)])
def test_a_size_that_does_not_divide_is_cut_off(shape: tuple[int, ...]) -> None:
    codes, values = draw(shape, 4), builders.normal(4)
    text = f"g (float[N,{shape[1]},8,8] x) => (float[N,{shape[0]},h,w] y) {{ y = Conv(x, w) }}"
    model, dense = (builders.model(text, w=values[codes]) for _ in range(2))
    Rebuilder(Rewriter(model.graph)).rebuild(builders.node(model.graph, "Conv"), codes, values)
    x = builders.normal(2, shape[1], 8, 8, seed=3)
    np.testing.assert_array_equal(builders.run(model, x=x)["y"], builders.run(dense, x=x)["y"])


def test_the_file_holds_little_more_than_the_codes() -> None:
    codes = draw((64, 64, 3, 3), 16)
    text = CONV.replace("N,4,", "N,64,").replace("N,6,", "N,64,")
    model = builders.model(text, w=builders.normal(64, 64, 3, 3), b=builders.normal(64))
    Rebuilder(Rewriter(model.graph)).rebuild(builders.node(model.graph, "Conv"), codes, builders.normal(16))
    model.graph.cleanup()
    assert stored_size(codes.size, 16, 0, 4) == codes.size // 2 + 64
    assert to_proto(model).ByteSize() < codes.size // 2 + 64 + 64 * 4 + 800


def test_the_constants_of_the_arithmetic_are_shared() -> None:
    model = builders.model(
        "g (float[N,4,8,8] x) => (float[N,4,8,8] y) { a = Conv(x, w) y = Conv(a, w) }", w=builders.normal(4, 4, 1, 1)
    )
    rebuilder = Rebuilder(Rewriter(model.graph))
    for node in [node for node in model.graph.nodes if node.op == "Conv"]:
        rebuilder.rebuild(node, draw((4, 4, 1, 1), 16), builders.normal(16))
    model.graph.cleanup()
    assert len(to_proto(model).graph.initializer) == 2 * 2 + 3


def test_costs_count_the_dense_work_and_what_is_stored() -> None:
    model = rebuilt(builders.normal(16), draw((6, 4, 3, 3), 16))
    cost = graph_cost(model.graph, infer_shapes(model.graph))
    assert cost.macs == 64 * 6 * 4 * 9
    assert cost.params == 6 * 4 * 9 // 2 + 16 + 6 + ARITHMETIC


def test_a_weight_that_hangs_on_an_input_is_not_counted() -> None:
    model = builders.model("g (float[N,4,8,8] x, float[6,4,3,3] v) => (float[N,6,h,w] y) { w = Neg(v) y = Conv(x, w) }")
    assert list(computed_convs(model.graph, infer_shapes(model.graph))) == []


@pytest.mark.parametrize("opset", [10, 13, 17])
def test_the_graph_scales_codes(opset: int) -> None:
    codes, scales, zeros = draw((6, 4, 3, 3), 256), builders.normal(6, 1, 1, 1), draw((6, 1, 1, 1), 256)
    model = rescaled(codes, scales, zeros, opset)
    check_graph(model)
    dense = builders.model(CONV, opset, w=(codes - zeros.astype(np.float32)) * scales, b=builders.normal(6))
    x = builders.normal(2, 4, 8, 8, seed=3)
    np.testing.assert_array_equal(builders.run(model, x=x)["y"], builders.run(dense, x=x)["y"])


def rescaled(codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray, opset: int = 17) -> Model:
    model = builders.model(CONV, opset, w=builders.normal(*codes.shape), b=builders.normal(6))
    conv = builders.node(model.graph, "Conv")
    Rebuilder(Rewriter(model.graph)).rescale([conv], codes, scales, zeros.astype(np.float32))
    model.graph.cleanup()
    return model


RESCALED = rescaled(draw((6, 4, 3, 3), 256), builders.normal(6, 1, 1, 1), np.full((6, 1, 1, 1), 128))


@pytest.mark.parametrize("model", [rebuilt(builders.normal(16), draw((6, 4, 3, 3), 16)), RESCALED])
def test_cleanup_leaves_codes_packed(model: Model) -> None:
    before = builders.listing(model.graph)
    fold_all(model.graph)
    assert builders.listing(model.graph) == before


def test_bits() -> None:
    assert [code_bits(count) for count in (2, 4, 5, 16, 17, 256)] == [2, 2, 4, 4, 8, 8]
