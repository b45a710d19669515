"""The tensors that all ways lead through."""

from __future__ import annotations

import builders
from onnx_compress.compiler.graph.dominators import DominatorTree


def tree(body: str, inputs: str = "float[N] x") -> DominatorTree:
    return DominatorTree(builders.model(f"g ({inputs}) => (float[N] y) {{ {body} }}").graph)


def test_branches_meet_in_what_they_come_from() -> None:
    found = tree("a = Relu(x) b = Abs(a) c = Neg(a) d = Add(b, c) y = Relu(d)")
    assert [list(found.above(name)) for name in "xbdy"] == [[], ["a", "x"], ["a", "x"], ["d", "a", "x"]]


def test_a_branch_of_a_branch() -> None:
    found = tree("a = Relu(x) b = Abs(a) c = Neg(b) d = Add(b, c) y = Add(a, d)")
    assert (list(found.above("d")), list(found.above("y"))) == (["b", "a", "x"], ["a", "x"])


def test_what_comes_from_several_inputs_has_none() -> None:
    assert list(tree("a = Relu(x) y = Add(a, z)", "float[N] x, float[N] z").above("y")) == []


def test_what_comes_from_constants_is_not_in_the_tree() -> None:
    found = tree("k = Constant<value_float=1.0>() a = Relu(x) y = Mul(a, k)")
    assert "k" not in found.parents and list(found.above("y")) == ["a", "x"]
