"""Counts against those that the shapes of a run with onnxruntime give, for every kind of layer."""

from __future__ import annotations

from math import prod

import builders
import numpy as np
import onnx
import pytest
from onnx_compress.compiler.costs.channel_macs import ChannelMacs
from onnx_compress.compiler.costs.latency.kernel_work import product_of
from onnx_compress.compiler.costs.network_cost import conv_costs, graph_cost
from onnx_compress.compiler.graph.channels import find_channels
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.shapes import static_shapes

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CASES = {
    "plain": ("float[1,4,9,11] x", "y = Conv<strides=[2,1], pads=[1,0,1,2]>(x, w)", {"w": (6, 4, 3, 3)}),
    "dilated": ("float[1,4,9,11] x", "y = Conv<dilations=[2,3]>(x, w)", {"w": (6, 4, 3, 2)}),
    "grouped": ("float[1,4,9,11] x", "y = Conv<group=2>(x, w)", {"w": (6, 2, 3, 3)}),
    "depthwise": ("float[1,4,9,11] x", 'y = Conv<group=4, auto_pad="SAME_UPPER">(x, w)', {"w": (8, 1, 3, 3)}),
    "1-D": ("float[1,4,13] x", "y = Conv<strides=[3]>(x, w)", {"w": (6, 4, 5)}),
    "3-D": ("float[1,4,5,6,7] x", "y = Conv<group=2, pads=[1,0,0,0,1,0]>(x, w)", {"w": (6, 2, 3, 2, 1)}),
    "open batch": ("float[N,4,9,11] x", "y = Conv(x, w)", {"w": (6, 4, 3, 3)}),
    "transposed": ("float[1,4,9,11] x", "y = ConvTranspose<strides=[2,2]>(x, w)", {"w": (4, 6, 3, 3)}),
    "transposed, grouped": ("float[1,4,9] x", "y = ConvTranspose<group=2, strides=[2]>(x, w)", {"w": (4, 3, 3)}),
    "Gemm": ("float[1,12] x", "y = Gemm(x, w)", {"w": (12, 5)}),
    "Gemm, transposed": ("float[1,12] x", "y = Gemm<transB=1>(x, w)", {"w": (5, 12)}),
    "MatMul": ("float[1,7,12] x", "y = MatMul(x, w)", {"w": (12, 5)}),
    "MatMul from the left": ("float[1,12,7] x", "y = MatMul(w, x)", {"w": (5, 12)}),
    "two": ("float[1,4,9,11] x", "a = Conv(x, w) y = Conv(a, v)", {"w": (6, 4, 3, 3), "v": (3, 6, 1, 1)}),
}  # fmt: skip


def network(case: str) -> onnx.ModelProto:
    declared, nodes, weights = CASES[case]
    text = f"g ({declared}) => (float y) {{ {nodes} }}"
    proto = builders.proto(text, **{name: builders.normal(*shape) for name, shape in weights.items()})
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


def counted(proto: onnx.ModelProto) -> list[int]:
    """MACs by node: every element of the output (of a ConvTranspose: of the input) meets this part of the weight."""
    feeds = {
        i.name: np.zeros([d.dim_value or 1 for d in i.type.tensor_type.shape.dim], np.float32)
        for i in proto.graph.input
    }
    weights = {entry.name: tuple(entry.dims) for entry in proto.graph.initializer}
    every = onnx.ModelProto.FromString(proto.SerializeToString())
    del every.graph.output[:]
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for node in proto.graph.node for name in node.output)
    shapes = {name: value.shape for name, value in {**feeds, **builders.run(every, **feeds)}.items()}
    shapes.update(weights)
    found: list[int] = []
    for node in proto.graph.node:
        first, second, out = (shapes[name] for name in (*node.input[:2], node.output[0]))
        if node.op_type == "Conv":
            found.append(prod(out) * prod(second[1:]))
        elif node.op_type == "ConvTranspose":
            found.append(prod(first) * prod(second[1:]))
        else:
            found.append(prod(out) * first[-1])
    return found


@pytest.mark.parametrize("case", CASES)
def test_macs_are_those_of_a_run(case: str):
    proto = network(case)
    graph = from_proto(proto).graph
    shapes, expected = static_shapes(graph), counted(proto)
    assert [product_of(node, shapes).macs for node in graph.nodes] == expected
    assert ChannelMacs(find_channels(graph, shapes), shapes, LAYERS).total() == sum(expected)
    convs = [macs for node, macs in zip(graph.nodes, expected, strict=True) if node.op == "Conv"]
    assert [cost.macs for _, cost in conv_costs(graph, shapes)] == convs
    assert graph_cost(graph, shapes).macs == sum(convs)


INTEGER = """g (uint8[1,4,9,11] x) => (uint8[1,6,7,9] y) { y = QLinearConv(x, s, z, w, s, z, s, z, b) }"""


def test_integer_convs_count():
    weights = {"w": np.ones((6, 4, 3, 3), np.uint8), "b": np.ones(6, np.int32)}
    scalars = {"s": np.array(0.1, np.float32), "z": np.array(0, np.uint8)}
    graph = builders.model(INTEGER, **weights, **scalars).graph
    cost = graph_cost(graph, static_shapes(graph))
    assert (cost.macs, cost.params) == (6 * 7 * 9 * 36, 6 * 36 + 6)


def test_a_weight_that_is_an_input_counts_by_its_shape():
    text = "g (float[1,4,9,11] x, float[6,4,3,3] w) => (float[1,6,7,9] y) { v = Relu(w) y = Conv(x, v) }"
    graph = builders.model(text).graph
    assert graph_cost(graph, static_shapes(graph)).macs == 6 * 7 * 9 * 36
