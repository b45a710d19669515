"""The layer in front of a gap: which one it is, and what it is wanted to give."""

from __future__ import annotations

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.graph.blocks import find_blocks
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.passes.depth_removal.front import Front, front_of, reference_for

W = builders.normal(4, 4, 3, 3)
CONV = "Conv<pads=[1,1,1,1]>"


def model(body: str) -> Model:
    return builders.model(f"g (float[N,4,8,8] x) => (float[N,4,8,8] y) {{ {body} y = Softmax<axis=1>(e) }}", w=W)


def front(network: Model, result: str) -> Front | None:
    found = find_blocks(network.graph, infer_shapes(network.graph)).found
    return front_of(next(block for block in found if block.exit.name == result), {})


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (f"a = {CONV}(x, w) b = {CONV}(a, w) e = Add(a, b)", Front("a", "a", "", "e")),
        (f"a = {CONV}(x, w) r = Relu(a) b = {CONV}(r, w) s = Add(b, r) e = Relu(s)", Front("a", "a", "", "s")),
        (f"z = Relu(x) a = {CONV}(z, w) s = Add(a, z) b = {CONV}(s, w) e = Add(s, b)", Front("a", "s", "z", "e")),
        (
            f"a = {CONV}(x, w) g = Sigmoid(a) r = Mul(a, g) b = {CONV}(r, w) h = Sigmoid(b) e = Mul(b, h)",
            Front("a", "a", "", "b"),
        ),
    ],
    ids=["linear", "before the Relu", "part of a sum", "before a gate"],
)
def test_what_is_wanted_of_it(body: str, wanted: Front) -> None:
    assert front(model(body), "e") == wanted


@pytest.mark.parametrize(
    "body",
    [
        f"a = {CONV}(x, w) b = {CONV}(a, w) s = Add(a, b) t = MaxPool<kernel_shape=[1,1]>(a) e = Add(s, t)",
        f"p = AveragePool<kernel_shape=[1,1]>(x) b = {CONV}(p, w) s = Add(p, b) e = Identity(s)",
    ],
    ids=["others read the entry", "made by no layer"],
)
def test_where_there_is_none(body: str) -> None:
    assert front(model(body), "s") is None


def test_the_reference_gives_what_is_wanted_under_the_name_of_the_layer() -> None:
    network = model(f"z = Relu(x) a = {CONV}(z, w) s = Add(a, z) b = {CONV}(s, w) e = Add(s, b)")
    found = front(network, "e")
    assert found is not None
    graph = reference_for(network.graph, [found])
    tensors = graph.tensors()
    graph.outputs = [tensor for name in ("a", "z", "e") if isinstance(tensor := tensors[name], gs.Variable)]
    for tensor in graph.outputs:
        tensor.dtype = np.dtype(np.float32)
    values = builders.run(gs.export_onnx(graph, do_type_check=False), x=builders.normal(2, 4, 8, 8))
    np.testing.assert_allclose(values["a"] + values["z"], values["e"], rtol=1e-4, atol=1e-5)
