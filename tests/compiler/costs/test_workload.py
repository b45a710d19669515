"""What a Conv costs before it is written."""

from __future__ import annotations

from math import prod

import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from onnx_compress.compiler.costs.workload import ConvWorkload, chain_costs, conv_workload
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.shapes import Shapes, infer_shapes


class ByWeight:
    """A millisecond per weight."""

    def conv(self, workload: ConvWorkload) -> float:
        return workload.weights

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        return 0.0


@pytest.mark.parametrize(("attrs", "channels"), [("pads=[1,1,1,1]", 6), ("strides=[2,2]", 6), ("group=3", 2)])
def test_a_piece_costs_what_its_conv_does(attrs: str, channels: int) -> None:
    text = f"g (float[N,6,9,9] x) => (float[N,12,H,W] y) {{ y = Conv<{attrs}>(x, w, b) }}"
    source = model(text, w=normal(12, channels, 3, 3), b=normal(12))
    (conv,) = find_convs(source.graph)
    shapes = infer_shapes(source.graph)
    workload = conv_workload(conv, shapes)
    positions = prod(shapes[conv.output.name][2:])
    assert workload.macs == positions * conv.filters * conv.fan_in
    assert workload.params == conv.weight.size + 12
    assert workload.positions_in == 81


def test_a_chain_costs_the_sum_and_time_only_where_it_has_a_price() -> None:
    chain = [ConvWorkload(4, 2, (3, 3), 1, 100, 25), ConvWorkload(2, 8, (1, 1), 1, 25, 25, bias=True)]
    assert chain_costs(chain) == {"macs": 25 * (72 + 16), "params": 72 + 16 + 8, "activations": 25 * 4 * (2 + 8)}
    assert chain_costs(chain, ByWeight())["latency"] == 72 + 16
