"""Precisions of layers and widths of tensors."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from onnx_compress.compiler.costs.latency.precision import PrecisionRequest, Precisions

PAIR = "{0}q = QuantizeLinear({0}, s, z) {0}d = DequantizeLinear({0}q, s, z)"
BODY = (
    f"{PAIR.format('v')} {PAIR.format('x')} a = Conv(xd, vd) r = Relu(a) m = MaxPool<kernel_shape = [2, 2]>(r) "
    f"{PAIR.format('m')} b = Conv(md, v) e = Exp(b) y = Conv(e, vd)"
)


@pytest.fixture
def graph() -> gs.Graph:
    weights = {"v": normal(4, 4, 1, 1), "s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    return model(f"g (float[1,4,8,8] x) => (float y) {{ {BODY} }}", **weights).graph


def named(graph: gs.Graph, name: str) -> gs.Node:
    return next(node for node in graph.nodes if node.outputs[0].name == name)


@pytest.mark.parametrize(("layer", "precision"), [("a", "int8"), ("b", "fp16"), ("y", "fp16"), ("m", "int8")])
def test_int8_needs_pairs_on_data_and_weight(graph: gs.Graph, layer: str, precision: str):
    assert Precisions(graph, "auto").of(named(graph, layer)) == precision


@pytest.mark.parametrize(
    ("tensor", "width"),
    [("x", 2), ("xq", 1), ("xd", 1), ("a", 2), ("r", 1), ("m", 1), ("b", 2), ("y", 2)],
)
def test_what_only_quantizers_read_is_stored_in_int8(graph: gs.Graph, tensor: str, width: int):
    assert Precisions(graph, "auto").width(graph.tensors()[tensor]) == width


@pytest.mark.parametrize(("request_", "inner", "outer"), [("fp32", 4, 4), ("fp16", 2, 2), ("int8", 1, 4)])
def test_one_precision_for_all(graph: gs.Graph, request_: PrecisionRequest, inner: int, outer: int):
    precisions = Precisions(graph, request_)
    assert {precisions.of(node) for node in graph.nodes} == {request_}
    assert [precisions.width(graph.tensors()[name]) for name in ("r", "x", "y")] == [inner, outer, outer]
