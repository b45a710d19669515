"""A Conv that reads what a network is given gets channels of zeros, and computes what it did to the bit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from builders import listing, model, normal, run
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.quantization.zero_channels import (
    add_zero_channels,
    missing_channels,
    remove_zero_channels,
)
from onnx_compress.compiler.graph.rewriter import Rewriter

PAIR = """xq = QuantizeLinear({x}, s, z) xd = DequantizeLinear(xq, s, z)"""
WEIGHT = "wd = DequantizeLinear<axis=0>(w, ws, wz)"
CONV = f"{PAIR} {WEIGHT} y = Conv<pads=[1,1,1,1]>(xd, wd, b)"
NUMBERS = {"s": np.float32(0.03), "z": np.uint8(120)}


def codes(*shape: int) -> dict[str, np.ndarray]:
    w = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
    scales = np.linspace(0.001, 0.01, shape[0], dtype=np.float32)
    return {"w": w, "ws": scales, "wz": np.zeros(shape[0], np.int8), "b": normal(shape[0])}


def network(body: str, channels: int = 3, filters: int = 16, **weights: np.ndarray) -> Model:
    text = f"g (float[N,{channels},8,8] x) => (float[N,{filters},8,8] y) {{ {body} }}"
    return model(text, **(NUMBERS | codes(filters, channels, 3, 3) | weights))


def widened(source: Model, multiple: int = 4) -> list[str]:
    convs = [node.name for node in source.graph.nodes if node.op == "Conv"]
    return add_zero_channels(Rewriter(source.graph), convs, multiple)


IN_FLOAT = "wq = QuantizeLinear<axis=0>(w, ws, wz) wd = DequantizeLinear<axis=0>(wq, ws, wz)"
SHARED = CONV.replace("y =", "c =")
BEHIND = f"xr = QuantizeLinear(x, s, z) xe = DequantizeLinear(xr, s, z) r = Relu(xe) {CONV.format(x='r')}"
COMPUTED = f"v = Abs(x) k = ReduceMax<keepdims=0>(v) {WEIGHT.replace('wd', 'we')} wd = Mul(we, k)"


@pytest.mark.parametrize(
    "body",
    [
        CONV.format(x="x"),
        f"m = Sub(x, s) n = Relu(m) {CONV.format(x='n')}",
        CONV.format(x="x").replace(WEIGHT, IN_FLOAT),
    ],
)
def test_it_computes_the_same(body: str):
    stored_in_float = {"w": normal(16, 3, 3, 3)} if "wq" in body else {}
    source, x = network(body, **stored_in_float), normal(2, 3, 8, 8)
    before, wanted = listing(source.graph), run(source, x=x)["y"]
    assert len(widened(source)) == 1
    np.testing.assert_array_equal(run(source, x=x)["y"], wanted)
    assert len(listing(source.graph)) == len(before) + 1
    conv = next(node for node in source.graph.nodes if node.op == "Conv")
    stored = conv.inputs[1].inputs[0].inputs[0]
    stored = stored if not stored.inputs else stored.inputs[0].inputs[0]
    assert stored.values.shape == (16, 4, 3, 3)
    assert not stored.values[:, 3].any()
    assert widened(source) == []
    remove_zero_channels(Rewriter(source.graph))
    source.graph.cleanup()
    assert [line.replace(".narrower", "").replace(".wider", "") for line in listing(source.graph)] == before
    np.testing.assert_array_equal(run(source, x=x)["y"], wanted)


OTHERS = {
    "few filters": network(CONV.format(x="x"), filters=8),
    "whole rows": network(CONV.format(x="x"), channels=4),
    "long rows": network(CONV.format(x="x"), channels=19),
    "groups": network(CONV.format(x="x").replace("pads", "group=3, pads"), filters=18, w=codes(18, 1, 3, 3)["w"]),
    "behind another kernel": network(BEHIND),
    "others read the pair": network(f"{SHARED.format(x='x')} m = GlobalMaxPool(xd) k = ReduceMax(m) y = Add(c, k)"),
    "others read the weight": network(f"{SHARED.format(x='x')} k = ReduceMax(wd) y = Add(c, k)"),
    "no pair": network(f"{WEIGHT} y = Conv<pads=[1,1,1,1]>(x, wd, b)"),
    "a computed weight": network(CONV.format(x="x").replace(WEIGHT, COMPUTED)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_others_stay_as_they_are(case: str):
    before = listing(OTHERS[case].graph)
    assert widened(OTHERS[case]) == []
    assert listing(OTHERS[case].graph) == before


def test_engines_that_take_any_row_need_none():
    assert widened(network(CONV.format(x="x")), multiple=1) == []


def test_a_pad_with_a_weight_of_its_own_is_not_taken_out():
    padded = CONV.format(x="x").replace("xd = DequantizeLinear(xq", "xp = Pad(xq, p, z) xd = DequantizeLinear(xp")
    source = network(padded, w=codes(16, 4, 3, 3)["w"], p=np.array([0, 0, 0, 0, 0, 1, 0, 0]))
    before = listing(source.graph)
    remove_zero_channels(Rewriter(source.graph))
    assert listing(source.graph) == before


def test_only_those_that_are_named():
    source = network(CONV.format(x="x"))
    assert add_zero_channels(Rewriter(source.graph), ["another"], 4) == []


@given(st.integers(16, 64), st.integers(1, 20), st.sampled_from([(1, 1), (3, 3), (5,), (2, 3), (3, 3, 3)]))
def test_rows_are_whole_then(filters: int, channels: int, taps: tuple[int, ...]):
    more, row = missing_channels((filters, channels, *taps), 4), int(np.prod(taps))
    assert 0 <= more < 4
    if channels * row <= 160:
        assert (channels + more) * row % 4 == 0
        assert all((channels + fewer) * row % 4 for fewer in range(more))


def test_the_channels_of_a_picture():
    counts = {(c, k): missing_channels((32, c, k, k), 4) for c, k in product((1, 3, 4, 12), (1, 3, 7, 11))}
    assert {key: count for key, count in counts.items() if count} == {
        (1, 1): 3, (1, 3): 3, (1, 7): 3, (1, 11): 3, (3, 1): 1, (3, 3): 1, (3, 7): 1,
    }  # fmt: skip
