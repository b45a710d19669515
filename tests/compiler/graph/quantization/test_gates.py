"""What counts as a gate: element by element, of one tensor, with one result."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model
from onnx_compress.compiler.graph.quantization.gates import gate_behind

SCALAR, VECTOR = {"c": np.float32(3), "d": np.full((1, 1, 1, 1), 6, np.float32)}, np.ones((4, 1, 1), np.float32)


def behind(body: str, quantized: tuple[str, ...] = ()) -> tuple[list[str], str] | None:
    text = f"g (float[N,4,8,8] x, float[N,4,8,8] z) => (float[N,4,8,8] y) {{ {body} }}"
    graph = model(text, **SCALAR, v=VECTOR, w=np.ones((4, 4, 1, 1), np.float32)).graph
    found = gate_behind(graph, graph.inputs[0], quantized)
    return None if found is None else ([node.outputs[0].name for node in found.nodes], found.result.name)


@pytest.mark.parametrize(
    ("body", "nodes"),
    [
        ("s = Sigmoid(x) y = Mul(x, s)", ["s", "y"]),
        ("a = Add(x, c) r = Clip(a) m = Mul(x, r) y = Div(m, d)", ["a", "r", "m", "y"]),
        ("s = HardSigmoid(x) m = Mul(s, z) y = Conv(m, w)", ["s"]),
        ("r = LeakyRelu(x) y = Conv(r, w)", ["r"]),
    ],
    ids=["SiLU", "HardSwish", "a gate of something else", "LeakyRelu"],
)
def test_functions_of_one_tensor(body: str, nodes: list[str]):
    assert behind(body) == (nodes, nodes[-1])


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv(x, w)",
        "s = Sigmoid(x) m = Mul(x, s) k = Conv(x, w) y = Add(m, k)",
        "y = Mul(x, v)",
        "y = Mul(x, z)",
        "s = Sigmoid(x) m = Mul(x, s) a = Conv(s, w) b = Conv(m, w) y = Add(a, b)",
        "y = Softmax(x)",
    ],
    ids=["a layer", "a layer beside it", "per channel", "another tensor", "two results", "over an axis"],
)
def test_other_readers(body: str):
    assert behind(body) is None


def test_it_ends_where_the_next_pair_is():
    assert behind("s = Sigmoid(x) m = Mul(x, s) y = Relu(m)", ("m",)) == (["s", "m"], "m")
