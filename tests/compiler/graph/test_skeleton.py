"""What is left of a graph without its big weights says the same of types and shapes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from onnx_compress.compiler.graph import outline
from onnx_compress.compiler.graph.constants import lower_constants
from onnx_compress.compiler.graph.io import from_proto, to_proto
from onnx_compress.compiler.graph.outline import left_out, outlined
from onnx_compress.compiler.graph.skeleton import skeleton

BIG = normal(64, 64, 3, 3)
CONV = "g (float[N,64,8,8] x) => (float[N,64,6,6] y) { y = Conv(x, w, b) }"


def declared(proto: onnx.ModelProto) -> dict[str, list[int]]:
    return {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in proto.graph.input}


def test_big_weights_are_inputs_and_small_ones_stay():
    light = skeleton(model(CONV, w=BIG, b=normal(64)).graph)
    assert declared(light) == {"x": [0, 64, 8, 8], "w": [64, 64, 3, 3]}
    assert [tensor.name for tensor in light.graph.initializer] == ["b"]
    onnx.checker.check_model(light, full_check=True)


@pytest.mark.parametrize("values", [BIG, BIG.astype(np.float16), normal(3), np.int64(7)])
def test_constant_nodes_are_initializers_or_inputs(values: np.ndarray):
    content = to_proto(model("g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    held = onnx.numpy_helper.from_array(np.asarray(values))
    content.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=held))
    content.graph.node.append(onnx.helper.make_node("Identity", ["c"], ["z"]))
    content.graph.output.append(onnx.helper.make_tensor_value_info("z", held.data_type, held.dims))
    light = skeleton(from_proto(content).graph)
    assert [node.op_type for node in light.graph.node] == ["Relu", "Identity"]
    assert light.ByteSize() < 1000
    found = declared(light) | {tensor.name: list(tensor.dims) for tensor in light.graph.initializer}
    assert found["c"] == list(np.shape(values))
    onnx.checker.check_model(light, full_check=True)


@pytest.mark.parametrize(("attribute", "shape"), [("value_float = 1.5", []), ("value_ints = [1, 2]", [2])])
def test_numbers_of_constant_nodes_are_initializers(attribute: str, shape: list[int]):
    light = skeleton(model(f"g () => (float[N] y) {{ c = Constant<{attribute}>() y = Cast<to = 1>(c) }}").graph)
    assert [(tensor.name, list(tensor.dims)) for tensor in light.graph.initializer] == [("c", shape)]


def test_a_constant_node_that_is_an_output_stays():
    light = skeleton(model("g () => (float y) { y = Constant<value_float = 1.0>() }").graph)
    assert [node.op_type for node in light.graph.node] == ["Constant"]


@pytest.mark.parametrize("size", [2, 5000])
def test_a_constant_node_without_outputs_harms_nothing(size: int):
    content = to_proto(model("g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    held = onnx.numpy_helper.from_array(normal(size))
    content.graph.node.insert(0, onnx.helper.make_node("Constant", [], [], value=held))
    graph = from_proto(content).graph
    assert [node.op_type for node in skeleton(graph).graph.node] == ["Constant", "Relu"]
    assert lower_constants(graph) == 0


def test_a_default_is_no_constant():
    """An input may be fed another value than its default."""
    content = to_proto(model("g (float[2] x, float[2] d) => (float[2] y) { y = Add(x, d) }"))
    content.graph.initializer.append(onnx.numpy_helper.from_array(normal(2), "d"))
    light = skeleton(from_proto(content).graph)
    assert list(declared(light)) == ["x", "d"]
    assert not light.graph.initializer


def test_copies_of_a_graph_have_the_same_skeleton():
    graph = model(CONV, w=BIG, b=normal(64)).graph
    graph.producer_name = "me"
    assert skeleton(graph) == skeleton(graph.copy())


@pytest.mark.parametrize("least", [1, 10**6])
def test_the_graph_has_its_weights_again(least: int):
    graph = model(CONV, w=BIG, b=normal(64)).graph
    held = {name: tensor.values for name, tensor in graph.tensors().items() if isinstance(tensor, gs.Constant)}
    outlined(graph, least)
    skeleton(graph)
    with pytest.raises(KeyError), left_out(graph.tensors()[name] for name in held):
        raise KeyError
    for name, values in held.items():
        assert graph.tensors()[name].values is values


def test_the_graph_has_its_weights_again_after_a_failure(monkeypatch: pytest.MonkeyPatch):
    graph = model(CONV, w=BIG, b=normal(64)).graph
    held = graph.tensors()["w"].values

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(outline.gs, "export_onnx", fail)
    with pytest.raises(MemoryError):
        outlined(graph)
    assert graph.tensors()["w"].values is held
