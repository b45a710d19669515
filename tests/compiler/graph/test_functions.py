"""Operators written by the ones that define them."""

from __future__ import annotations

import numpy as np
import pytest
from builders import listing, model, normal, run
from onnx_compress.compiler.graph.functions import expand_functions
from onnx_compress.compiler.graph.rewriter import Rewriter


def expand(before, *operators: str) -> list[str]:
    return expand_functions(Rewriter(before.graph), lambda node: node.op in operators)


@pytest.mark.parametrize(
    ("opset", "body", "operator"),
    [
        (17, "{ y = HardSwish(x) }", "HardSwish"),
        (18, "{ y = Mish(x) }", "Mish"),
        (20, "{ y = Gelu(x) }", "Gelu"),
        (17, "{ y = LayerNormalization<axis = 1>(x, s, b) }", "LayerNormalization"),
        (21, "{ y = GroupNormalization<num_groups = 2>(x, c, d) }", "GroupNormalization"),
    ],
)
def test_the_body_computes_the_same(opset: int, body: str, operator: str):
    weights = {"s": normal(4, 3, 3), "b": normal(4, 3, 3, seed=1), "c": normal(4, seed=2), "d": normal(4, seed=3)}
    before = model(f"g (float[N,4,3,3] x) => (float[N,4,3,3] y) {body}", opset=opset, ir=9, **weights)
    x = normal(2, 4, 3, 3, seed=4)
    expected = run(before, x=x)["y"]
    assert expand(before, operator) == [f"{operator}_0"]
    assert operator not in {node.op for node in before.graph.nodes}
    np.testing.assert_allclose(run(before, x=x)["y"], expected, rtol=1e-5, atol=1e-5)


def test_names_stay_unique_and_say_where_they_came_from():
    before = model("g (float[N,4] x) => (float[N,4] y) { a = HardSwish(x) y = HardSwish(a) }")
    rewriter = Rewriter(before.graph)
    expand_functions(rewriter, lambda node: node.op == "HardSwish")
    assert [node.op for node in before.graph.nodes] == ["HardSigmoid", "Mul"] * 2
    assert {rewriter.origins[node.name] for node in before.graph.nodes} == {"HardSwish_0", "HardSwish_1"}
    assert len({node.name for node in before.graph.nodes}) == 4


def test_bodies_of_branches_are_looked_at():
    before = model(
        """g (float[4] x, bool c) => (float[4] y) {
        y = If (c) <then_branch = t () => (float[4] u) { u = HardSwish(x) },
                    else_branch = e () => (float[4] v) { v = Relu(x) }> }"""
    )
    x = normal(4)
    expected = run(before, x=x, c=np.array(True))["y"]
    assert len(expand(before, "HardSwish")) == 1
    np.testing.assert_allclose(run(before, x=x, c=np.array(True))["y"], expected, rtol=1e-6)


def test_an_operator_without_a_body_stays():
    before = model("g (float[N,4] x) => (float[N,4] y) { y = Erf(x) }")
    assert expand(before, "Erf") == []
    assert listing(before.graph) == ["y = Erf(x)"]
