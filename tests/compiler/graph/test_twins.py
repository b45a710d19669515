"""Twin tensors are equal wherever the inputs are."""

from __future__ import annotations

from builders import model, normal
from onnx_compress.compiler.graph.twins import twin_classes

TEXT = "g (float[N,4,8,8] x, float[N,4,8,8] z) => (float[N,4,8,8] y) { %s }"
WEIGHTS = {"w": normal(4, 4, 1, 1), "v": normal(4, 4, 1, 1), "u": normal(4, 4, 1, 1, seed=1)}


def classes(text: str) -> list[list[str]]:
    return twin_classes(model(TEXT % text, **WEIGHTS).graph)


def test_branches_with_equal_weights_are_twins():
    found = classes("a = Conv(x, w) b = Relu(a) c = Conv(z, v) d = Relu(c) y = Sub(b, d)")
    assert found == [["x", "z"], ["a", "c"], ["b", "d"]]


def test_other_weights_and_attributes_end_them():
    assert classes("a = Conv(x, w) b = Conv(z, u) y = Sub(a, b)") == [["x", "z"]]
    assert classes("a = LeakyRelu<alpha=0.1>(x) b = LeakyRelu<alpha=0.2>(z) y = Sub(a, b)") == [["x", "z"]]


def test_inputs_of_other_shapes_are_none():
    text = "g (float[N,4,8,8] x, float[N,4,4,4] z) => (float[N,4,8,8] y, float[N,4,4,4] t) { %s }"
    assert twin_classes(model(text % "y = Conv(x, w) t = Conv(z, w)", **WEIGHTS).graph) == []


def test_outputs_of_one_node_are_told_apart():
    found = classes("a, b = Split<axis=1>(x) c, d = Split<axis=1>(z) e = Concat<axis=1>(a, d) y = Sub(e, x)")
    assert found == [["x", "z"], ["a", "c"], ["b", "d"]]


def test_a_level_is_no_twin_of_another():
    text = "g (float[N,4,8,8] x) => (float[N,4,8,8] y) { a = Conv(x, w) p = Relu(x) b = Conv(p, w) y = Add(a, b) }"
    assert twin_classes(model(text, **WEIGHTS).graph) == []
