"""Before and Expected as node listings, and the numbers through onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from builders import listing, model, normal, run
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.constants import LIMIT
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.cleanup import Cleanup

X = normal(2, 3, 8, 8)


def clean(before: Model, **feeds: np.ndarray) -> list[str]:
    """Clean up, check that the outputs stay, and list the nodes."""
    expected = run(before, **feeds)
    declared = to_proto(before).graph
    result = Cleanup().run(before.graph, Context())
    check_graph(before)
    after = to_proto(before).graph
    assert list(after.input) == list(declared.input)
    assert list(after.output) == list(declared.output)
    for name, value in run(before, **feeds).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)
    assert result.changed == (len(after.node) < len(declared.node))
    return listing(before.graph)


def test_constant_nodes_become_initializers():
    before = model(
        """g (float[N,3,8,8] x) => (float[N,3,8,8] y) {
        a = Constant<value_float = 2.0>() b = Constant<value = float[1] {3.0}>() c = Mul(x, a) y = Add(c, b) }"""
    )
    assert clean(before, x=X) == ["c = Mul(x, a)", "y = Add(c, b)"]
    assert {t.name: t.data_type for t in to_proto(before).graph.initializer} == {"a": 1, "b": 1}


def test_a_constant_that_is_an_output_stays_a_node():
    before = model("g (float[2] x) => (float[2] y, float c) { c = Constant<value_float = 2.0>() y = Mul(x, c) }")
    assert clean(before, x=normal(2)) == ["c = Constant()", "y = Mul(x, c)"]


def test_chains_of_constants_fold():
    before = model(
        "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { t = Transpose(w) u = Sqrt(t) v = Neg(u) y = Mul(x, v) }",
        w=np.abs(normal(8, 8, 3, 1)),
    )
    assert clean(before, x=X) == ["y = Mul(x, v)"]


def test_shape_chains_fold_and_the_batch_stays_open():
    before = model(
        """g (float[N,3,8,8] x) => (float[N,S] y) <int64[1] zero = {0}, int64 one = {1}, int64[1] minus = {-1}> {
        s = Shape(x) n = Gather<axis = 0>(s, zero) c = Gather<axis = 0>(s, one) k = Mul(c, one)
        r = Unsqueeze(k, zero) m = Mul(r, minus) d = Concat<axis = 0>(n, m) e = Abs(d) f = Concat<axis = 0>(n, minus)
        z = Reshape(x, f) g = Slice(e, zero, r) y = Add(z, q) }""",
        q=normal(192),
    )
    nodes = clean(before, x=X)
    assert nodes == [
        "s = Shape(x)",
        "n = Gather(s, zero)",
        "f = Concat(n, minus)",
        "z = Reshape(x, f)",
        "y = Add(z, q)",
    ]
    assert run(before, x=normal(5, 3, 8, 8))["y"].shape == (5, 192)


def test_a_dimension_that_a_computation_mixes_is_not_folded():
    before = model(
        """g (float[N,3,8,8] x) => (int64[4] y) <int64[4] cap = {1,5,5,5}> { s = Shape(x) y = Min(s, cap) }"""
    )
    assert clean(before, x=X) == ["s = Shape(x)", "y = Min(s, cap)"]


def test_identity_and_dropout_go():
    before = model(
        """g (float[N,3,8,8] x) => (float[N,3,8,8] y) {
        a = Identity(x) b, m = Dropout(a) c = Relu(b) d = Identity(c) y = Neg(d) }"""
    )
    assert clean(before, x=X) == ["c = Relu(x)", "y = Neg(c)"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("{ a = Relu(x) y = Identity(a) }", ["y = Relu(x)"], id="the producer takes the output's name"),
        pytest.param("{ y = Identity(x) }", ["y = Identity(x)"], id="an input is an output"),
        pytest.param(
            "{ a = Relu(x) b = Neg(a) c = Abs(b) d = Add(a, c) e = Identity(a) y = Sub(d, e) }",
            ["a = Relu(x)", "b = Neg(a)", "c = Abs(b)", "d = Add(a, c)", "y = Sub(d, a)"],
            id="two readers",
        ),
    ],
)
def test_outputs_keep_their_names(body: str, expected: list[str]):
    assert clean(model(f"g (float[N,3,8,8] x) => (float[N,3,8,8] y) {body}"), x=X) == expected


def test_one_tensor_feeds_two_outputs():
    before = model("g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) y = Identity(a) z = Identity(a) }")
    assert clean(before, x=normal(2)) == ["y = Relu(x)", "z = Identity(y)"]


def test_dead_nodes_go():
    before = model("g (float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) y = Abs(x) }")
    assert clean(before, x=normal(2)) == ["y = Abs(x)"]


def test_a_node_that_only_a_subgraph_reads_stays():
    before = model(
        """g (float[4] x, bool c) => (float[4] y) { h = Relu(x) i = Identity(h)
        y = If(c) <then_branch = a () => (float[4] t) { t = Add(i, w) },
        else_branch = b () => (float[4] e) { e = Neg(i) }> }""",
        w=normal(4),
    )
    assert clean(before, x=normal(4), c=np.array(True)) == ["h = Relu(x)", "y = If(c)"]


def test_quantized_weights_are_not_folded():
    before = model(
        """g (float[N,3,8,8] x) => (float[N,4,6,6] y) <float s = {0.1}, int8 z = {0}> {
        q = QuantizeLinear(w, s, z) v = DequantizeLinear(q, s, z) y = Conv(x, v) }""",
        w=normal(4, 3, 3, 3),
    )
    nodes = ["q = QuantizeLinear(w, s, z)", "v = DequantizeLinear(q, s, z)", "y = Conv(x, v)"]
    assert clean(before, x=X) == nodes


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("{ big = ConstantOfShape(shape) y = Add(x, big) }", id="ConstantOfShape"),
        pytest.param("{ big = Expand(one, shape) y = Add(x, big) }", id="Expand"),
        pytest.param("{ big = Tile(one, shape) y = Add(x, big) }", id="Tile"),
    ],
)
def test_the_file_does_not_grow(body: str):
    side = int(LIMIT**0.5)
    before = model(
        f"""g (float[1,{side}] x) => (float[{side},{side}] y)
        <int64[2] shape = {{{side},{side}}}, float[1,1] one = {{1}}> {body}"""
    )
    assert len(clean(before, x=normal(1, side))) == 2


def test_a_wider_type_and_a_shared_weight_stay_as_they_are():
    before = model(
        """g (float[N,256] x) => (float[N,256] y) { v = Cast<to = 1>(w) a = MatMul(x, v)
        t = Transpose(u) b = MatMul(a, t) y = MatMul(b, u) }""",
        w=normal(256, 256, dtype=np.float16),
        u=normal(256, 256),
    )
    nodes = clean(before, x=normal(2, 256) / 100)
    assert "v = Cast(w)" in nodes
    assert "t = Transpose(u)" in nodes


def test_what_equal_nodes_make_of_a_weight_is_stored_once():
    before = model(
        """g (float[N,3,8,8] x) => (float[N,3,8,8] y) <int64[4] d = {3, 3, 3, 3}, int64[4] e = {3, 3, 3, 3}> {
        v = Cast<to = 1>(h) w = Cast<to = 1>(h) p = Reshape(v, d) q = Reshape(w, e)
        a = Conv<pads = [1,1,1,1]>(x, p) b = Relu(a) y = Conv<pads = [1,1,1,1]>(b, q) }""",
        h=normal(9, 9).astype(np.float16),
    )
    assert clean(before, x=X) == ["a = Conv(x, p)", "b = Relu(a)", "y = Conv(b, p)"]
    assert [tensor.name for tensor in to_proto(before).graph.initializer] == ["p"]


def test_random_numbers_are_not_folded():
    before = model("g (float[4] x) => (float[4] y) { r = RandomNormal<shape = [4], seed = 1.0>() y = Add(x, r) }")
    Cleanup().run(before.graph, Context())
    assert listing(before.graph) == ["r = RandomNormal()", "y = Add(x, r)"]


def test_an_input_with_a_stored_value_is_a_constant():
    before = model("g (float[4] x, float[4] w = {1,2,3,4}) => (float[4] y) { v = Neg(w) y = Add(x, v) }", ir=8)
    result = Cleanup().run(before.graph, Context())
    assert listing(before.graph) == ["y = Add(x, v)"] and result.changed
    assert [info.name for info in to_proto(before).graph.input] == ["x"]
    np.testing.assert_allclose(run(before, x=normal(4))["y"], normal(4) - np.array([1, 2, 3, 4], np.float32))
    assert result.notes == ["inputs with a stored value are taken for constants, and are no inputs any more: 1 (w)"]


def test_works_without_onnxruntime(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    before = model("g (float[2,2] x) => (float[2,2] y) { t = Transpose(w) y = Mul(x, t) }", w=normal(2, 2))
    Cleanup().run(before.graph, Context())
    assert listing(before.graph) == ["y = Mul(x, t)"]


def test_nothing_to_do_changes_nothing():
    before = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    result = Cleanup().run(before.graph, Context())
    assert not result.changed
    assert result.decisions == []


def test_computed_pads_become_known():
    before = model(
        """g (float[N,3,8,8] x) => (float[N,4,8,8] y)
        <int64 one = {1}, int64[1] zero = {0}, int64[4] head = {0,0,1,1}, int64[3] tail = {0,1,1}> {
        s = Shape(x) c = Gather<axis = 0>(s, one) u = Unsqueeze(c, zero) k = Sub(u, u)
        p = Concat<axis = 0>(head, k, tail) z = Pad(x, p) y = Conv(z, w) }""",
        w=normal(4, 3, 3, 3),
    )
    assert graph_cost(before.graph, infer_shapes(before.graph)).macs == 64 * 4 * 27
    assert clean(before, x=X) == ["z = Pad(x, p)", "y = Conv(z, w)"]
