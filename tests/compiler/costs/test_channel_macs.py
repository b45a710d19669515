"""MACs before, after and per unit, against the cost of the graph itself."""

from __future__ import annotations

import numpy as np
from builders import model, normal, proto
from onnx_compress.compiler.costs.channel_macs import ChannelMacs
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.graph.channels import find_channels, remove
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes

STREAM = proto(
    """g (float[N,2,8,8] x) => (float[N,3,4,4] y) {
      a = Conv(x, w0) b = Conv <pads=[1,1,1,1]> (a, w1) c = Add(a, b) d = Conv <group=4> (c, w2)
      y = Conv <strides=[2,2]> (d, w3) }""",
    w0=normal(4, 2, 1, 1), w1=normal(4, 4, 3, 3), w2=normal(4, 1, 1, 1), w3=normal(3, 4, 1, 1),
)  # fmt: skip


def after(*units: int) -> int:
    """The MACs of the graph without all other units."""
    source = from_proto(STREAM)
    channels = find_channels(source.graph)
    remove(channels, {channels.groups[0]: np.array(units, int)}, Rewriter(source.graph))
    return graph_cost(source.graph, infer_shapes(source.graph)).macs


def test_macs_are_those_of_the_pruned_graph():
    graph = from_proto(STREAM).graph
    channels, shapes = find_channels(graph), infer_shapes(graph)
    macs, group = ChannelMacs(channels, shapes), channels.groups[0]
    assert macs.total() == after(0, 1, 2, 3) == 64 * (4 * 2 + 4 * 4 * 9 + 4) + 16 * 3 * 4
    assert macs.total({group: np.array([1, 3])}) == after(1, 3)
    assert macs.saved(group).tolist() == [macs.total() - after(1, 2, 3)] * 4


def test_other_layers_count_on_demand():
    text = "g (float[N,2,3,3] x) => (float[N,5] y) { a = ConvTranspose(x, t) f = Flatten(a)"
    graph = model(
        text + " h = Gemm(f, g) y = MatMul(h, m) }", t=normal(2, 4, 2, 2), g=normal(64, 6), m=normal(6, 5)
    ).graph
    channels, shapes = find_channels(graph), infer_shapes(graph)
    assert ChannelMacs(channels, shapes).total() == 0
    macs = ChannelMacs(channels, shapes, ops=("ConvTranspose", "Gemm", "MatMul"))
    assert macs.total() == 9 * 2 * 4 * 4 + 64 * 6 + 6 * 5
    assert macs.saved(channels.groups[0]).tolist() == [9 * 2 * 4 + 16 * 6] * 4
