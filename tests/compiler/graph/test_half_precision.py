"""FLOAT16 becomes FLOAT everywhere but at the model's inputs and outputs, and in operators that are not ONNX's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from builders import listing, model, normal, run
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.half_precision import obstacle, to_single_precision
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.graph.rewriter import Rewriter

X = normal(2, 4, 6, 6).astype(np.float16)
V = normal(4, 4, 1, 1, seed=1).astype(np.float16)
ONE = "g (float16[N,4,6,6] x) => (float16[N,4,6,6] y) { %s }"


def changed(text: str, domains: str = "") -> Model:
    subject = model(text, domains=domains, **({"v": V} if "v)" in text else {}))
    assert obstacle(subject.graph) is None
    to_single_precision(Rewriter(subject.graph))
    check_graph(subject)
    return subject


def test_inputs_and_outputs_stay():
    found = changed(ONE % "a = Relu(x) y = Conv(a, v)")
    assert listing(found.graph) == [
        "x.single = Cast(x)",
        "a = Relu(x.single)",
        "y.single = Conv(a, v)",
        "y = Cast(y.single)",
    ]
    assert found.graph.tensors()["v"].dtype == np.float32
    assert to_proto(found).graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


def test_casts_with_nothing_to_do_go():
    text = "g (float[N,4,6,6] x) => (float[N,4,6,6] y) { h = Cast<to = 10>(x) a = Conv(h, v) y = Cast<to = 1>(a) }"
    assert listing(changed(text).graph) == ["y = Conv(x, v)"]


def test_an_operator_of_another_domain_reads_and_writes_half():
    text = """g (float16[N,4,6,6] x) => (float16[N,4,6,6] y) <float16[N,4,6,6] b> {
        a = Conv(x, v) b = my.Act(a) y = Relu(b) }"""
    assert listing(changed(text, ', "my" : 1').graph) == [
        "x.single = Cast(x)",
        "a = Conv(x.single, v)",
        "a.half = Cast(a)",
        "b.half = Act(a.half)",
        "b = Cast(b.half)",
        "y.single = Relu(b)",
        "y = Cast(y.single)",
    ]


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param("c = Constant<value = float16[1] {16384}>() y = Mul(x, c)", id="constant"),
        pytest.param("s = Shape(x) c = ConstantOfShape<value = float16[1] {16384}>(s) y = Mul(x, c)", id="fill"),
        pytest.param("i = Cast<to = 7>(x) h = Cast<to = 10>(i) y = Add(h, x)", id="casts of integers"),
        pytest.param("y = Identity(x)", id="input and output"),
        pytest.param("a = Sigmoid(x) y = Mul(a, a)", id="output without a layer"),
        pytest.param(
            """z = ReduceSum<keepdims = 0>(x) o = Constant<value = float16 {0}>() k = Greater(z, o)
            y = If (k) <then_branch = t () => (float16[N,4,6,6] a) {
                c = Constant<value = float16[1] {16384}>() b = Mul(x, c) a = Relu(b) },
            else_branch = e () => (float16[N,4,6,6] d) { d = Neg(x) }>""",
            id="bodies",
        ),
    ],
)
def test_values_stay(nodes: str):
    found = changed(ONE % nodes)
    onnx.checker.check_model(to_proto(found), full_check=True)
    before, after = run(model(ONE % nodes), x=X)["y"], run(found, x=X)["y"]
    assert after.dtype == np.float16
    np.testing.assert_allclose(after, before, rtol=2e-3, atol=2e-3)


def test_obstacles():
    unknown = model(ONE % "a = my.Act(x) y = Relu(a)", domains=', "my" : 1')
    assert "Act" in str(obstacle(unknown.graph))
    sequence = model(ONE % "a = SequenceConstruct(x, x) y = ConcatFromSequence<axis = 0>(a)")
    assert "makes a sequence" in str(obstacle(sequence.graph))
