"""Pairs without numbers stand where `quantize` puts them."""

from __future__ import annotations

import builders
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.graph.quantization.outline import outline, shapes_of_pairs

NETWORK = """g (float[1,3,8,8] x) => (float[1,4,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1]>(r, w2)
    y = Add(c, r)
}"""


def network() -> gs.Graph:
    return builders.model(NETWORK, w1=builders.normal(4, 3, 3, 3), w2=builders.normal(4, 4, 3, 3)).graph


def test_one_layer_gets_pairs_and_the_other_stays() -> None:
    graph = network()
    found = outline(graph, ["Conv_2"], closed=False)
    assert builders.listing(found) == [
        "a = Conv(x, w1)",
        "r = Relu(a)",
        "Conv_2.weight.dq = DequantizeLinear(w2, Conv_2.weight.scale, Conv_2.weight.zero_point)",
        "r.q = QuantizeLinear(r, r.scale, r.zero_point)",
        "r.dq = DequantizeLinear(r.q, r.scale, r.zero_point)",
        "c = Conv(r.dq, Conv_2.weight.dq)",
        "y = Add(c, r.dq)",
    ]
    assert builders.listing(graph) == builders.listing(network())


@pytest.mark.parametrize("closed", [False, True])
def test_shapes_go_through_pairs(closed: bool) -> None:
    found = outline(network(), ["Conv_0", "Conv_2"], closed)
    shapes = shapes_of_pairs(found, {"x": (1, 3, 8, 8), "r": (1, 4, 8, 8)})
    assert shapes["x.dq"] == shapes["x.q"] == (1, 3, 8, 8)
    assert shapes["Conv_2.weight.dq"] == (4, 4, 3, 3)
    assert "c.dq" not in shapes, "what is not known stays so"
