"""Edits keep names unique, shared weights apart and outputs in place."""

from __future__ import annotations

import numpy as np
from builders import listing, model, node, normal, run
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.rewriter import Rewriter


def test_fresh_names_avoid_nodes_tensors_and_subgraphs():
    branches = "then_branch = a () => (float[2] t) { t = Neg(x) }, else_branch = b () => (float[2] e) { e = Abs(x) }"
    rewriter = Rewriter(model(f"g (float[2] x, bool c) => (float[2] y) {{ y = If(c) <{branches}> }}").graph)
    assert [rewriter.fresh_name(name) for name in ("x", "t", "Neg_0", "If_0", "new", "new")] == [
        "x_1",
        "t_1",
        "Neg_0_1",
        "If_0_1",
        "new",
        "new_1",
    ]


def test_replace_keeps_the_output_and_the_place():
    source = model("g (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) y = Abs(b) }")
    origins: dict[str, str] = {}
    rewriter = Rewriter(source.graph, origins)
    old = node(source.graph, "Neg")
    middle = rewriter.variable("middle")
    first = rewriter.node("Identity", [old.inputs[0]], [middle], "Neg_1.first", origin="Neg_1")
    last = rewriter.node("Neg", [middle], [], "Neg_1.last", origin="Neg_1")
    rewriter.replace(old, [first, last])
    check_graph(source)
    assert listing(source.graph) == ["a = Relu(x)", "middle = Identity(a)", "b = Neg(middle)", "y = Abs(b)"]
    assert origins == {"Neg_1.first": "Neg_1", "Neg_1.last": "Neg_1"}
    again = rewriter.node("Abs", [], [], "deeper", origin="Neg_1.last")
    assert origins[again.name] == "Neg_1"


def test_a_shared_weight_is_cloned():
    source = model("g (float[2] x) => (float[2] y) { a = Mul(x, w) y = Add(a, w) }", w=normal(2))
    Rewriter(source.graph).set_weight(node(source.graph, "Mul"), 1, np.ones(2, np.float32))
    check_graph(source)
    assert listing(source.graph) == ["a = Mul(x, Mul_0.weight)", "y = Add(a, w)"]
    np.testing.assert_allclose(run(source, x=normal(2))["y"], 2 * normal(2))


def test_a_weight_can_be_added_as_an_optional_input():
    source = model("g (float[N,1,4,4] x) => (float[N,1,4,4] y) { y = Conv(x, w) }", w=normal(1, 1, 1, 1))
    Rewriter(source.graph).set_weight(source.graph.nodes[0], 2, np.ones(1, np.float32))
    check_graph(source)
    assert listing(source.graph) == ["y = Conv(x, w, Conv_0.bias)"]


def test_bypass_reaches_subgraphs():
    branches = "then_branch = a () => (float[2] t) { t = Neg(i) }, else_branch = b () => (float[2] e) { e = Abs(i) }"
    source = model(f"g (float[2] x, bool c) => (float[2] y) {{ i = Identity(x) y = If(c) <{branches}> }}")
    Rewriter(source.graph).bypass(node(source.graph, "Identity"))
    check_graph(source)
    np.testing.assert_allclose(run(source, x=normal(2), c=np.array(True))["y"], -normal(2))


def test_bypass_of_a_tensor_read_twice_by_one_node():
    source = model("g (float[2] x) => (float[2] y) { i = Identity(x) y = Add(i, i) }")
    Rewriter(source.graph).bypass(node(source.graph, "Identity"))
    assert listing(source.graph) == ["y = Add(x, x)"]


def test_absorb_moves_the_output():
    source = model("g (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) y = Abs(b) }")
    Rewriter(source.graph).absorb(node(source.graph, "Neg"), node(source.graph, "Relu"))
    check_graph(source)
    assert listing(source.graph) == ["b = Relu(x)", "y = Abs(b)"]
