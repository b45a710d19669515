"""Models without their weights say the same of names, types, shapes and sizes."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.graph import weightless
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.constants import lower_constants
from onnx_compress.compiler.graph.io import Model, digest, from_proto, stored_size, to_proto, to_weightless
from onnx_compress.compiler.graph.protobuf_writer import write
from onnx_compress.compiler.graph.weightless import (
    export_for_inference,
    export_weightless,
    graph_bytes,
    weightless_copy,
    weights_left_out,
)

BIG = normal(64, 64, 3, 3)
CONV = "g (float[N,64,8,8] x) => (float[N,64,6,6] y) { y = Conv(x, w, b) }"
OPEN_CONV = "g (float[N,C,8,8] x) => (float[N,M,6,6] y) { y = Conv(x, w, b) }"
BRANCHES = """g (float[N,{n}] x, bool c) => (float[N,{n}] y) {
    a = Add(x, b)
    y = If(c) <
        then_branch = then () => (float[N,{n}] t) { t = Add(a, b) },
        else_branch = other () => (float[N,{n}] e) { e = Mul(a, d) }
    >
}"""


def declared(proto: onnx.ModelProto) -> dict[str, list[int]]:
    return {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in proto.graph.input}


def test_big_weights_are_inputs_and_small_ones_stay():
    proto = export_for_inference(model(CONV, w=BIG, b=normal(64)).graph)
    assert declared(proto) == {"x": [0, 64, 8, 8], "w": [64, 64, 3, 3]}
    assert [tensor.name for tensor in proto.graph.initializer] == ["b"]
    onnx.checker.check_model(proto, full_check=True)


@pytest.mark.parametrize("values", [BIG, BIG.astype(np.float16), normal(3), np.int64(7)])
def test_constant_nodes_are_initializers_or_inputs(values: np.ndarray):
    content = to_proto(model("g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    held = onnx.numpy_helper.from_array(np.asarray(values))
    content.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=held))
    content.graph.node.append(onnx.helper.make_node("Identity", ["c"], ["z"]))
    content.graph.output.append(onnx.helper.make_tensor_value_info("z", held.data_type, held.dims))
    proto = export_for_inference(from_proto(content).graph)
    assert [node.op_type for node in proto.graph.node] == ["Relu", "Identity"]
    assert proto.ByteSize() < 1000
    found = declared(proto) | {tensor.name: list(tensor.dims) for tensor in proto.graph.initializer}
    assert found["c"] == list(np.shape(values))
    onnx.checker.check_model(proto, full_check=True)


@pytest.mark.parametrize(("attribute", "shape"), [("value_float = 1.5", []), ("value_ints = [1, 2]", [2])])
def test_numbers_of_constant_nodes_are_initializers(attribute: str, shape: list[int]):
    proto = export_for_inference(
        model(f"g () => (float[N] y) {{ c = Constant<{attribute}>() y = Cast<to = 1>(c) }}").graph
    )
    assert [(tensor.name, list(tensor.dims)) for tensor in proto.graph.initializer] == [("c", shape)]


def test_a_constant_node_that_is_an_output_stays():
    proto = export_for_inference(model("g () => (float y) { y = Constant<value_float = 1.0>() }").graph)
    assert [node.op_type for node in proto.graph.node] == ["Constant"]


@pytest.mark.parametrize("size", [2, 5000])
def test_a_constant_node_without_outputs_harms_nothing(size: int):
    content = to_proto(model("g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    held = onnx.numpy_helper.from_array(normal(size))
    content.graph.node.insert(0, onnx.helper.make_node("Constant", [], [], value=held))
    graph = from_proto(content).graph
    assert [node.op_type for node in export_for_inference(graph).graph.node] == ["Constant", "Relu"]
    assert lower_constants(graph) == 0


def test_a_default_is_no_constant():
    """An input may be fed another value than its default."""
    content = to_proto(model("g (float[2] x, float[2] d) => (float[2] y) { y = Add(x, d) }"))
    content.graph.initializer.append(onnx.numpy_helper.from_array(normal(2), "d"))
    proto = export_for_inference(from_proto(content).graph)
    assert list(declared(proto)) == ["x", "d"]
    assert not proto.graph.initializer


def test_copies_of_a_graph_have_the_same_export():
    graph = model(CONV, w=BIG, b=normal(64)).graph
    graph.producer_name = "me"
    assert export_for_inference(graph) == export_for_inference(graph.copy())


@pytest.mark.parametrize("least", [1, 10**6])
def test_the_graph_has_its_weights_again(least: int):
    graph = model(CONV, w=BIG, b=normal(64)).graph
    held = {name: tensor.values for name, tensor in graph.tensors().items() if isinstance(tensor, gs.Constant)}
    export_weightless(graph, least)
    export_for_inference(graph)
    with pytest.raises(KeyError), weights_left_out(graph.tensors()[name] for name in held):
        raise KeyError
    for name, values in held.items():
        assert graph.tensors()[name].values is values


def test_the_graph_has_its_weights_again_after_a_failure(monkeypatch: pytest.MonkeyPatch):
    graph = model(CONV, w=BIG, b=normal(64)).graph
    held = graph.tensors()["w"].values

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(weightless.gs, "export_onnx", fail)
    with pytest.raises(MemoryError):
        export_weightless(graph)
    assert graph.tensors()["w"].values is held


def test_a_big_weight_that_branches_read_is_one_input():
    text, weights = BRANCHES.replace("{n}", "3000"), {"b": normal(3000), "d": normal(3000)}
    source = model(text, **weights)
    proto = export_for_inference(source.graph)
    assert list(declared(proto)) == ["x", "c", "b"]
    bodies = [attribute.g for node in proto.graph.node for attribute in node.attribute]
    assert [[tensor.name for tensor in body.initializer] for body in bodies] == [[], ["d"]]
    check_graph(source)
    assert list(declared(weightless_copy(to_proto(source)))) == ["x", "c", "b", "d"]


def written(model: Model) -> bytes:
    file = BytesIO()
    write(*to_weightless(model), file.write)
    return file.getvalue()


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([np.float32, np.float16]))
def test_the_bytes_are_those_of_protobuf(channels: int, filters: int, dtype: type) -> None:
    text = OPEN_CONV if dtype is np.float32 else OPEN_CONV.replace("float[", "float16[")
    weights = {
        "w": normal(filters, channels, 3, 3, dtype=dtype),
        "b": normal(filters, dtype=dtype),
    }
    source = model(text, **weights)
    assert written(source) == to_proto(source).SerializeToString(deterministic=True)
    assert stored_size(source) == to_proto(source).ByteSize()
    assert digest(source) == sha256(written(source)).hexdigest()


@pytest.mark.parametrize("size", [10, 127, 128, 3_600, 3_700, 600_000])
def test_lengths_of_every_size_count(size: int) -> None:
    source = model("g (float[N] x) => (float[N] y) { y = Mul(x, w) }", w=normal(size))
    proto = to_proto(source)
    assert written(source) == proto.SerializeToString(deterministic=True)
    assert stored_size(source) == proto.ByteSize()
    assert graph_bytes(source.graph) > 4 * size


def test_weights_that_branches_share_count_once() -> None:
    source = model(BRANCHES.replace("{n}", "300"), b=normal(300), d=normal(300))
    assert written(source) == to_proto(source).SerializeToString(deterministic=True)


def test_nothing_but_values_is_left_out() -> None:
    source = model(OPEN_CONV, w=normal(32, 16, 3, 3), b=normal(32))
    proto, weights = to_weightless(source)
    assert list(weights) == ["w"]
    whole = to_proto(source)
    for one, two in zip(proto.graph.initializer, whole.graph.initializer, strict=True):
        assert (one.name, one.data_type, one.dims) == (two.name, two.data_type, two.dims)
        assert (one.data_location == onnx.TensorProto.EXTERNAL) == (one.name == "w")
    assert proto.ByteSize() < 500
    np.testing.assert_array_equal(weights["w"].values, normal(32, 16, 3, 3))
    assert to_proto(source) == whole


def test_a_weight_that_subgraphs_read_is_weighed_once():
    text = BRANCHES.replace("{n}", "512").replace("Mul(a, d)", "Mul(a, b)").replace("Add(x, b)", "Relu(x)")
    graph = model(text, b=normal(512)).graph
    assert 4 * 512 < graph_bytes(graph) < 6 * 512
