"""Before: a newer opset. Expected: the same outputs in an older one, or a refusal that names the node."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from builders import listing, model, node, normal, run
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import to_proto
from onnx_compress.compiler.graph.lowering import lower_opset
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import symbolic_shapes


def lower(before, opset: int) -> list[str]:
    changed = lower_opset(Rewriter(before.graph), opset, symbolic_shapes(before.graph))
    onnx.checker.check_model(to_proto(before), full_check=True)
    return changed


AXES = "<int64[2] a = {2, 3}, int64[1] one = {1}, int64[0] none = {}>"


@pytest.mark.parametrize(
    ("opset", "to", "body"),
    [
        pytest.param(18, 17, "{ y = ReduceMean<keepdims = 0>(x, a) }", id="Reduce axes"),
        pytest.param(18, 17, "{ y = ReduceMax(x) }", id="Reduce all"),
        pytest.param(18, 17, "{ y = ReduceL2(x, none) }", id="Reduce empty axes"),
        pytest.param(18, 17, "{ p, q, r = Split<axis = 1, num_outputs = 3>(x) y = Add(p, q) }", id="Split uneven"),
        pytest.param(18, 17, "{ y = Pad(x, pads, zero, a) }", id="Pad axes"),
        pytest.param(18, 17, "{ y = Pad(x, all) }", id="Pad"),
        pytest.param(19, 17, '{ y = Resize<axes = [2, 3], mode = "nearest">(x, , twice) }', id="Resize axes"),
        pytest.param(19, 17, "{ y = AveragePool<kernel_shape = [2, 2], dilations = [1, 1]>(x) }", id="AveragePool"),
        pytest.param(21, 13, "{ y = Relu(x) }", id="types only"),
        pytest.param(17, 13, "{ s = Shape<start = 1, end = 3>(x) f = Cast<to = 1>(s) y = Neg(f) }", id="Shape part"),
        pytest.param(17, 13, "{ s = Shape(x) f = Cast<to = 1>(s) y = Neg(f) }", id="Shape"),
        pytest.param(17, 13, "{ y = Reshape<allowzero = 1>(x, flat) }", id="Reshape"),
        pytest.param(20, 17, '{ y = GridSample<mode = "linear">(x, grid) }', id="GridSample"),
        pytest.param(20, 17, '{ y = GridSample<mode = "cubic">(x, grid) }', id="GridSample cubic"),
        pytest.param(19, 13, "{ i = Cast<to = 7, saturate = 1>(x) y = Cast<to = 1>(i) }", id="Cast"),
    ],
)
def test_outputs_stay(opset: int, to: int, body: str):
    constants = {
        "pads": np.array([1, 0, 2, 1]),
        "all": np.array([0, 0, 1, 1, 0, 0, 1, 0]),
        "zero": np.float32(0.5),
        "twice": np.array([2, 2], np.float32),
        "flat": np.array([2, -1]),
        "grid": np.random.default_rng(0).uniform(-1, 1, (2, 3, 3, 2)).astype(np.float32),
    }
    used = {name: value for name, value in constants.items() if name in body}
    before = model(f"g (float[2,5,4,4] x) => (float y) {AXES} {body}", opset=opset, ir=9, **used)
    (declared,) = before.envelope.graph.output
    declared.type.tensor_type.ClearField("shape")
    x = normal(2, 5, 4, 4)
    expected = run(before, x=x)["y"]
    declared.CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, expected.shape))
    lower(before, to)
    assert before.graph.opset == to
    np.testing.assert_allclose(run(before, x=x)["y"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("opset", "to", "body", "reason"),
    [
        (18, 17, "{ y = ReduceMean<noop_with_empty_axes = 1>(x) }", "reduces nothing"),
        (18, 17, '{ y = Resize<antialias = 1, mode = "linear">(x, , s) }', "antialias"),
        (19, 17, '{ y = Resize<coordinate_transformation_mode = "half_pixel_symmetric">(x, , s) }', "half_pixel"),
        (19, 17, "{ y = AveragePool<kernel_shape = [2, 2], dilations = [2, 2]>(x) }", "dilations"),
        (18, 17, "{ b = Cast<to = 7>(x) c = BitwiseNot(b) y = Cast<to = 1>(c) }", "later opset"),
        (16, 13, '{ y = ScatterND<reduction = "add">(x, i, u) }', "reduction"),
    ],
)
def test_what_has_no_older_form_is_refused(opset: int, to: int, body: str, reason: str):
    constants = {"s": np.ones(4, np.float32), "i": np.zeros((1, 4), np.int64), "u": np.ones(1, np.float32)}
    used = {name: value for name, value in constants.items() if f" {name}" in body}
    before = model(f"g (float[1,2,4,4] x) => (float[1,2,4,4] y) {body}", opset=opset, ir=9, **used)
    with pytest.raises(CompressError, match=reason) as caught:
        lower(before, to)
    assert "node '" in caught.value.where


def test_branches_are_lowered_too():
    before = model(
        """g (float[2,4] x, bool c) => (float[2] y) <int64[1] a = {1}> {
        y = If (c) <then_branch = t () => (float[2] u) { u = ReduceMean<keepdims = 0>(x, a) },
                    else_branch = e () => (float[2] v) { v = ReduceMax<keepdims = 0>(x, a) }> }""",
        opset=18,
    )
    x = normal(2, 4)
    expected = run(before, x=x, c=np.array(True))["y"]
    lower(before, 17)
    np.testing.assert_array_equal(run(before, x=x, c=np.array(True))["y"], expected)


def test_a_copy_made_before_stays_as_it_was():
    before = model("g (float[2,4] x) => (float[4,2] y) <int64[2] s = {4, 2}> { y = Reshape<allowzero = 0>(x, s) }")
    copy = before.graph.copy()
    lower(before, 13)
    onnx.checker.check_model(gs.export_onnx(copy, do_type_check=False))
    assert node(copy, "Reshape").attrs["allowzero"] == 0 and copy.opset == 17


def test_an_older_graph_is_left_alone():
    before = model("g (float[2,4] x) => (float[2,4] y) { y = Relu(x) }", opset=13)
    assert lower(before, 13) == []
    assert listing(before.graph) == ["y = Relu(x)"]


def test_the_default_of_an_unknown_attribute_goes():
    before = model(
        "g (float[1,2,4,4] x) => (float[N,2,4,4] y) { y = BatchNormalization<training_mode = 0>(x, s, s, s, s) }",
        s=np.ones(2, np.float32),
    )
    lower(before, 13)
    assert "training_mode" not in node(before.graph, "BatchNormalization").attrs
