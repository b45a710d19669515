"""A copy of a graph is wired as the graph is, subgraphs too."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import listing, model, normal, run
from onnx_compress.compiler.graph.copies import copy_graph
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.ties import readers
from onnx_compress.compiler.graph.weightless import graph_bytes

BRANCHES = """g (float[N,4,8,8] x, bool c) => (float[N,4,8,8] y) {{
    a = {outside}
    y = If(c) <
        then_branch = then () => (float[N,4,8,8] t) {{ t = Conv(a, w) }},
        else_branch = other () => (float[N,4,8,8] e) {{ d = Conv(a, w) e = Neg(d) }}
    >
}}"""


def branches(outside: str) -> Model:
    return model(BRANCHES.format(outside=outside), w=normal(4, 4, 1, 1))


def reading(graph: gs.Graph) -> list[gs.Tensor]:
    """The weights of all Convs, a tensor for each."""
    parts = (graph, *graph.subgraphs(recursive=True))
    return [node.inputs[1] for part in parts for node in part.nodes if node.op == "Conv"]


@pytest.mark.parametrize(("outside", "uses"), [("Conv(x, w)", 3), ("Relu(x)", 2)])
def test_what_subgraphs_share_stays_one_tensor(outside: str, uses: int):
    given = branches(outside)
    copy = copy_graph(given.graph)
    weights = reading(copy)
    assert len(weights) == uses and all(tensor is weights[0] for tensor in weights)
    assert weights[0] is not reading(given.graph)[0] and weights[0].values is reading(given.graph)[0].values
    assert len(list(readers(weights[0]))) == uses
    assert listing(copy) == listing(given.graph)


def test_a_copy_takes_as_many_bytes():
    given = branches("Conv(x, w)")
    assert graph_bytes(copy_graph(given.graph)) == graph_bytes(given.graph)


def test_the_graph_stays_when_its_copy_is_edited():
    given = branches("Conv(x, w)")
    before = run(given, x=normal(2, 4, 8, 8), c=np.array(True))
    reading(copy_graph(given.graph))[0].values = normal(4, 4, 1, 1, seed=1)
    assert (run(given, x=normal(2, 4, 8, 8), c=np.array(True))["y"] == before["y"]).all()
