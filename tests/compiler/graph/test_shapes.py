"""Shapes with nominal values for what the model leaves open."""

from __future__ import annotations

import numpy as np
import onnx
from builders import model, normal
from onnx_compress.compiler.graph.io import from_proto, to_proto
from onnx_compress.compiler.graph.shapes import NOMINAL, infer_shapes, input_shapes, static_shapes, symbolic_shapes
from onnx_compress.compiler.graph.weightless import export_for_inference


def test_open_dimensions_get_nominal_values():
    source = model("g (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }")
    assert input_shapes(source.graph) == {"x": (1, 3, NOMINAL, NOMINAL)}
    assert infer_shapes(source.graph)["y"] == (1, 3, NOMINAL, NOMINAL)
    assert infer_shapes(source.graph, {"x": (1, 3, 32, 48)})["y"] == (1, 3, 32, 48)
    assert symbolic_shapes(source.graph)["y"] == (None, 3, None, None)


def test_dimensions_of_one_name_have_one_size():
    source = model("g (float[N,3,L] x, float[2,N,L] state) => (float[N,3,L] y) { y = Relu(x) }")
    assert input_shapes(source.graph) == {"x": (1, 3, NOMINAL), "state": (2, 1, NOMINAL)}
    assert input_shapes(source.graph, {"x": (1, 3, 7)}) == {"x": (1, 3, 7), "state": (2, 1, 7)}


def test_declared_sizes_win_over_the_sample():
    source = model("g (float[8,3,10,10] x) => (float[8,3,10,10] y) { y = Relu(x) }")
    assert infer_shapes(source.graph, {"x": (1, 3, 32, 32)})["y"] == (8, 3, 10, 10)


def test_big_weights_take_part_by_their_shape_alone():
    source = model("g (float[N,64,8,8] x) => (float[N,64,6,6] y) { y = Conv(x, w) }", w=normal(64, 64, 3, 3))
    assert infer_shapes(source.graph)["y"] == (1, 64, 6, 6)
    assert infer_shapes(source.graph)["w"] == (64, 64, 3, 3)


def test_computed_shapes_are_followed_through_several_rounds():
    source = model(
        """g (float[N,3,8,8] x) => (float[N,A,B,C] y) <int64[1] two = {2}, int64[1] zero = {0}, int64[1] end = {4}> {
        s = Shape(x) h = Slice(s, two, end, zero) n = Slice(s, zero, two, zero) k = Mul(h, two)
        d = Concat<axis = 0>(n, k) e = Expand(one, d) t = Shape(e) u = Neg(t) v = Neg(u) y = Expand(one, v) }""",
        one=np.ones((1, 1, 1, 1), np.float32),
    )
    assert infer_shapes(source.graph)["y"] == (1, 3, 16, 16)


def test_the_graph_stays_as_it_was():
    source = model(
        "g (float[N,3,8,8] x) => (float[N,4,6,6] y) { c = Constant<value_float = 1.0>() a = Add(x, c) y = Conv(a, w) }",
        w=normal(4, 3, 3, 3),
    )
    before = to_proto(source).SerializeToString()
    infer_shapes(source.graph)
    assert to_proto(source).SerializeToString() == before


def test_a_long_vector_that_is_cast_takes_no_time():
    """Inference would write down a symbol for each element."""
    source = model(
        """g (float[N,250] x) => (float[N,M] y) <int64[2] s = {250, 400}> {
        c = Cast<to = 6>(codes) r = Reshape(c, s) w = Gather(e, r) y = MatMul(x, w) }""",
        codes=np.zeros(100_000, np.uint8),
        e=normal(16),
    )
    inputs = {info.name: info.type.tensor_type.shape.dim for info in export_for_inference(source.graph).graph.input}
    assert [dim.dim_value for dim in inputs["codes"]] == [0]
    found = infer_shapes(source.graph)
    assert (found["codes"], found["w"], found["y"]) == ((100_000,), (250, 400), (1, 400))


def test_an_edited_graph_has_new_shapes():
    source = model("g (float[N,64,8,8] x) => (float[N,64,6,6] y) { y = Conv(x, w) }", w=normal(64, 64, 3, 3))
    first = infer_shapes(source.graph)
    first["y"] = ()
    assert infer_shapes(source.graph)["y"] == (1, 64, 6, 6)
    source.graph.tensors()["w"].values = normal(64, 64, 5, 5)
    assert infer_shapes(source.graph)["y"] == (1, 64, 4, 4)
    assert infer_shapes(source.graph, {"x": (1, 64, 8, 8)})["y"] == (1, 64, 4, 4)


def test_stale_declarations_are_not_believed():
    source = model("g (float[N,3,8,8] x) => (float[N,4,6,6] y) { a = Conv(x, w) y = Relu(a) }", w=normal(4, 3, 3, 3))
    source.graph.nodes[0].outputs[0].shape = ["N", 9, 9, 9]
    assert infer_shapes(source.graph)["a"] == (1, 4, 6, 6)


def test_custom_operators_are_believed():
    content = to_proto(
        model("g (float[N,3] x) => (float[N,3] y) { a = com.example.M(x) y = Relu(a) }", domains=', "com.example" : 1')
    )
    content.graph.value_info.append(onnx.helper.make_tensor_value_info("a", 1, [1, 5]))
    assert infer_shapes(from_proto(content).graph)["y"] == (1, 5)


def test_a_batch_is_one_sample_unless_shapes_are_batched() -> None:
    source = model("g (float[N,3,H] x, float[N,4] state) => (float[N,3,H] y) { y = Relu(x) }")
    sample = {"x": (8, 3, 7), "state": (1, 4)}
    assert static_shapes(source.graph, sample)["y"] == (1, 3, 7)
    batched = static_shapes(source.graph, sample, batched=True)
    assert batched["y"] == (8, 3, 7) and batched["state"] == (8, 4), "one name, one size"
    assert input_shapes(source.graph, sample, batched=True)["state"] == (8, 4)


def test_a_batch_without_a_name_is_that_of_its_own_input() -> None:
    source = model("g (float[?,3] x, float[2,4] state) => (float[?,3] y) { y = Relu(x) }")
    assert static_shapes(source.graph, {"x": (8, 3)}, batched=True)["y"] == (8, 3)
    assert static_shapes(source.graph, {"x": (8, 3)})["y"] == (1, 3)
    assert static_shapes(source.graph, batched=True)["state"] == (2, 4)
