"""Each way to break a graph is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.check import check_graph, proto_to_check
from onnx_compress.compiler.graph.io import Model


def good() -> Model:
    branches = "then_branch = a () => (float[] t) { t = Neg(b) }, else_branch = b () => (float[] e) { e = Abs(b) }"
    return model(
        f"""g (float[N,3,8,8] x, bool c) => (float[N,4,6,6] y, float[A,B,C,D] z) {{
        a = Conv(x, w) b = Relu(a) y = Identity(b) z = If(c) <{branches}> }}""",
        w=normal(4, 3, 3, 3),
    )


def _same_node_name(graph: gs.Graph) -> None:
    graph.nodes[1].name = graph.nodes[0].name


def _same_node_name_in_subgraph(graph: gs.Graph) -> None:
    next(graph.subgraphs()).nodes[0].name = graph.nodes[0].name


def _no_node_name(graph: gs.Graph) -> None:
    graph.nodes[0].name = ""


def _same_tensor_name(graph: gs.Graph) -> None:
    graph.nodes[1].outputs[0].name = "a"


def _shadowed_by_subgraph(graph: gs.Graph) -> None:
    inner = next(graph.subgraphs())
    inner.outputs[0].name = "a"


def _dangling(graph: gs.Graph) -> None:
    graph.nodes[1].inputs[0] = gs.Variable("nowhere")


def _dangling_in_subgraph(graph: gs.Graph) -> None:
    next(graph.subgraphs()).nodes[0].inputs[0] = gs.Variable("nowhere")


def _wrong_order(graph: gs.Graph) -> None:
    graph.nodes[0], graph.nodes[1] = graph.nodes[1], graph.nodes[0]


def _lost_producer(graph: gs.Graph) -> None:
    del graph.nodes[2]


def _outputs_swapped(graph: gs.Graph) -> None:
    graph.outputs = [graph.outputs[1], graph.outputs[0]]


def _output_renamed(graph: gs.Graph) -> None:
    graph.outputs[0].name = "other"


def _input_lost(graph: gs.Graph) -> None:
    graph.inputs = graph.inputs[1:]


def _input_added(graph: gs.Graph) -> None:
    graph.inputs.append(gs.Variable("more", np.dtype(np.float32), [1]))


def _unknown_operator(graph: gs.Graph) -> None:
    graph.nodes[1].op = "Rulu"


def _shapes_clash(graph: gs.Graph) -> None:
    graph.nodes[0].inputs[1] = gs.Constant("w2", normal(5, 3, 3, 3))


BREAKS = [value for name, value in list(globals().items()) if name.startswith("_") and callable(value)]


def test_a_good_graph_passes():
    check_graph(good())


@pytest.mark.parametrize("damage", BREAKS, ids=lambda damage: damage.__name__[1:])
def test_a_broken_graph_is_refused(damage: Callable[[gs.Graph], None]):
    broken = good()
    damage(broken.graph)
    with pytest.raises(CompressError, match="a pass broke the graph"):
        check_graph(broken)


def test_big_weights_are_not_looked_at():
    big = model("g (float[N,64,8,8] x) => (float[N,64,6,6] y) { y = Conv(x, w) }", w=normal(64, 64, 3, 3))
    assert proto_to_check(big).ByteSize() < 1000
    check_graph(big)


def test_custom_operators_are_not_typed():
    check_graph(
        model("g (float[2] x) => (float[2] y) { a = com.example.Magic(x) y = Relu(a) }", domains=', "com.example" : 2')
    )


def test_siblings_may_use_the_same_names():
    branches = "then_branch = a () => (float[2] t) { t = Neg(x) }, else_branch = b () => (float[2] t) { t = Abs(x) }"
    check_graph(model(f"g (float[2] x, bool c) => (float[2] y) {{ y = If(c) <{branches}> }}"))
