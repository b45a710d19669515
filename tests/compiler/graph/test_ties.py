"""Layers that read one stored weight are one layer with several uses."""

from __future__ import annotations

import numpy as np
import pytest
from builders import listing, model, normal
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.gemms import find_gemms
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.ties import APART, refusal, tie

TEXT = "g (float[N,4,8,8] x) => (float[N,4,8,8] y, float[N,4,8,8] z) { %s }"
WEIGHTS = {"w": normal(4, 4, 1, 1), "v": normal(4, 4, 1, 1, seed=1), "b": normal(4), "c": normal(4, seed=1)}


def names(text: str) -> list[list[str]]:
    graph = model(TEXT % text, **WEIGHTS).graph
    return [[use.name for use in conv.uses] for conv in tie(find_convs(graph))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y = Conv(x, w, b) z = Conv(y, w, b)", [["Conv_0", "Conv_1"]]),
        ("y = Conv(x, w) z = Conv(y, w)", [["Conv_0", "Conv_1"]]),
        ("y = Conv<strides=[1,1]>(x, w) n = Neg(x) z = Conv<pads=[0,0,0,0]>(n, w)", [["Conv_0", "Conv_2"]]),
        ("i = Identity(w) y = Conv(x, i) j = Identity(w) z = Conv(y, j)", [["Conv_1", "Conv_3"]]),
        ("y = Conv(x, w) a = Conv(y, v) z = Conv(a, w)", [["Conv_0", "Conv_2"], ["Conv_1"]]),
        ("y = Conv(x, w, b) z = Conv(y, w, c)", [["Conv_0"], ["Conv_1"]]),
        ("y = Conv(x, w, b) z = Conv(y, w)", [["Conv_0"], ["Conv_1"]]),
        ("y = Conv(x, w, b) z = Conv(y, v, b)", [["Conv_0"], ["Conv_1"]]),
        ("y = Conv(x, w) t = Transpose<perm=[1,0,2,3]>(w) z = Conv(y, t)", [["Conv_0"], ["Conv_2"]]),
    ],
)
def test_uses_have_one_stored_weight_and_one_bias(text, expected):
    assert names(text) == expected


@pytest.mark.parametrize(
    ("other", "reader"),
    [
        ("z = ConvTranspose(y, w)", "ConvTranspose 'ConvTranspose_1', which keeps it"),
        ("z = Conv(y, w, b)", f"Conv 'Conv_1', {APART}"),
        ("t = Transpose<perm=[1,0,2,3]>(w) z = Conv(y, t)", f"Conv 'Conv_2', {APART}"),
        ("s = ReduceSum(w) z = Mul(y, s)", "ReduceSum 'ReduceSum_1', which keeps it"),
    ],
)
def test_a_weight_that_something_else_reads_cannot_change(other, reader):
    layer = tie(find_convs(model(TEXT % f"y = Conv(x, w) {other}", **WEIGHTS).graph))[0]
    assert refusal(layer, lambda use: None) == f"shares its weight with {reader}"


def test_the_reason_of_a_later_use_names_it():
    (layer,) = tie(find_convs(model(TEXT % "y = Conv(x, w) z = Conv(y, w)", **WEIGHTS).graph))
    assert refusal(layer, lambda use: None) is None
    assert refusal(layer, lambda use: "no" if use.name == "Conv_1" else None) == "shares its weight with 'Conv_1': no"
    assert refusal(layer, lambda use: "no") == "no"


def test_a_weight_read_in_a_branch_cannot_change():
    text = """g (bool q, float[N,4,8,8] x) => (float[N,4,8,8] y) { a = Conv(x, w)
        y = If (q) <then_branch = t () => (float[N,4,8,8] r) { r = Conv(a, w) },
                    else_branch = e () => (float[N,4,8,8] r) { r = Neg(a) }> }"""
    (layer,) = tie(find_convs(model(text, w=normal(4, 4, 1, 1)).graph))
    assert "shares its weight with Conv" in str(refusal(layer, lambda use: None))


def test_a_new_weight_is_stored_once():
    graph = model(TEXT % "y = Conv(x, w, b) z = Conv(y, w, b)", **WEIGHTS).graph
    (layer,) = tie(find_convs(graph))
    layer.store(Rewriter(graph), 2 * layer.matrix(), np.ones(4))
    assert listing(graph) == ["y = Conv(x, Conv_0.weight, Conv_0.bias)", "z = Conv(y, Conv_0.weight, Conv_0.bias)"]
    np.testing.assert_array_equal(graph.nodes[1].inputs[1].values, 2 * WEIGHTS["w"])


def test_so_is_that_of_fully_connected_layers():
    text = "g (float[N,4] x) => (float[N,4] z) { y = Gemm<alpha=2.0>(x, w) z = Gemm<alpha=2.0>(y, w) }"
    graph = model(text, w=normal(4, 4)).graph
    (layer,) = tie(find_gemms(graph))
    layer.store(Rewriter(graph), layer.matrix(), np.zeros(4))
    first, second = graph.nodes
    assert first.inputs[1] is second.inputs[1]
    assert first.attrs == second.attrs == {"alpha": 1.0, "beta": 1.0, "transB": 1}


def test_constants_are_shared_only_inside():
    rewriter = Rewriter(model(TEXT % "y = Conv(x, w) z = Neg(y)", **WEIGHTS).graph)
    with rewriter.sharing(2):
        one, same = rewriter.constant("a", np.ones(3)), rewriter.constant("b", np.ones(3))
        assert one is same
        assert rewriter.constant("c", np.ones(3, np.float32)) is not one
        assert rewriter.constant("d", np.ones((3, 1))) is not one
    assert rewriter.constant("e", np.ones(3)) is not one
