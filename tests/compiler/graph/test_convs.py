"""One view of a Conv, however its weight is stored; and the reason where there is no view."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from builders import model, normal, proto, run
from onnx_compress.compiler.graph.convs import Conv, find_convs, unsupported_convs
from onnx_compress.compiler.graph.io import Model, from_proto

W = normal(4, 3, 3, 3)


def only(source: Model) -> Conv:
    (conv,) = find_convs(source.graph)
    assert list(unsupported_convs(source.graph)) == []
    return conv


@pytest.mark.parametrize(
    ("layer", "x", "shape", "view"),
    [
        pytest.param("Conv", (3, 9), (4, 3, 3), (1, (1,), (1,)), id="1-D"),
        pytest.param("Conv", (3, 9, 9), (4, 3, 3, 3), (1, (1, 1), (1, 1)), id="2-D"),
        pytest.param("Conv", (3, 5, 5, 5), (4, 3, 3, 3, 3), (1, (1, 1, 1), (1, 1, 1)), id="3-D"),
        pytest.param("Conv<group = 2, strides = [2, 1]>", (6, 9, 9), (4, 3, 3, 3), (2, (2, 1), (1, 1)), id="group"),
        pytest.param(
            "Conv<group = 4, dilations = [1, 2]>", (4, 9, 9), (4, 1, 3, 3), (4, (1, 1), (1, 2)), id="depthwise"
        ),
    ],
)
def test_view(
    layer: str, x: tuple[int, ...], shape: tuple[int, ...], view: tuple[int, tuple[int, ...], tuple[int, ...]]
):
    inner = ",".join(map(str, x))
    conv = only(model(f"g (float[N,{inner}] x) => (float y) {{ y = {layer}(x, w, b) }}", w=normal(*shape), b=normal(4)))
    assert (conv.group, conv.strides, conv.dilations) == view
    assert (conv.filters, conv.channels, conv.kernel) == (4, x[0], shape[2:])
    assert conv.fan_in == conv.matrix().shape[1] == np.prod(shape[1:])
    np.testing.assert_array_equal(conv.weight, normal(*shape))
    np.testing.assert_array_equal(conv.bias, normal(4))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("size", [(7, 8), (6, 5)])
@pytest.mark.parametrize("extra", ["strides = [2, 1]", "strides = [1, 3]"])
def test_pads_are_those_of_the_engine(mode: str, size: tuple[int, int], extra: str):
    source = model(
        f'g (float[N,3,H,W] x) => (float[N,4,A,B] y) {{ y = Conv<auto_pad = "{mode}", {extra}>(x, w) }}',
        w=normal(4, 3, 3, 2),
    )
    x = normal(2, 3, *size)
    padded = np.pad(x, [(0, 0), (0, 0), *only(source).pads(size)])
    plain = model(f"g (float[N,3,H,V] x) => (float[N,4,A,B] y) {{ y = Conv<{extra}>(x, w) }}", w=normal(4, 3, 3, 2))
    np.testing.assert_allclose(run(source, x=x)["y"], run(plain, x=padded)["y"], atol=1e-5)


def test_explicit_pads():
    conv = only(model("g (float[N,3,8,8] x) => (float y) { y = Conv<pads = [1, 2, 3, 4]>(x, w) }", w=W))
    assert conv.pads((8, 8)) == [(1, 3), (2, 4)]
    assert conv.bias is None


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_precision_is_remembered(dtype: type):
    name = {"e": "float16", "d": "double"}[np.dtype(dtype).char]
    conv = only(model(f"g ({name}[N,3,8,8] x) => ({name} y) {{ y = Conv(x, w) }}", w=W.astype(dtype)))
    assert conv.dtype == dtype
    assert conv.weight.dtype == np.float32


@pytest.mark.parametrize(
    "chain",
    [
        "v = Identity(w)",
        "v = Cast<to = 1>(h)",
        "v = Transpose<perm = [3, 2, 0, 1]>(t)",
        "a = Cast<to = 1>(h) v = Identity(a)",
    ],
)
def test_weights_are_resolved(chain: str):
    stored = {"w": W, "h": W.astype(np.float16), "t": W.transpose(2, 3, 1, 0)}
    source = model(
        f"g (float[N,3,8,8] x) => (float y) {{ {chain} y = Conv(x, v) }}",
        **{name: values for name, values in stored.items() if f"({name})" in chain},
    )
    np.testing.assert_allclose(only(source).weight, W, atol=2e-3)


def test_weights_in_constant_nodes():
    source = model("g (float[N,1,8,8] x) => (float y) { w = Constant<value = float[1,1,1,2] {1, 2}>() y = Conv(x, w) }")
    np.testing.assert_array_equal(only(source).weight, [[[[1, 2]]]])


def test_shared_weights_are_two_views():
    source = model(
        "g (float[N,3,8,8] x) => (float y, float z) { y = Conv(x, w) z = Conv<pads = [1,1,1,1]>(x, w) }", w=W
    )
    assert [conv.name for conv in find_convs(source.graph)] == ["Conv_0", "Conv_1"]


@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        ("float[4,3,3,3] v", "y = Conv(x, v)", "its weight is the model input 'v'"),
        ("float[4,3,3,3] v", "u = Identity(v) y = Conv(x, u)", "its weight is the model input 'v'"),
        ("float[4,3,3,3] v", "u = Neg(v) y = Conv(x, u)", "its weight is computed by Neg 'Neg_0'"),
        ("float[4] v", "y = Conv(x, w, v)", "its bias is the model input 'v'"),
        ("float[4] v", "u = Neg(v) y = Conv(x, w, u)", "its bias is computed by Neg 'Neg_0'"),
    ],
)
def test_unsupported_convs_have_a_reason(head: str, body: str, reason: str):
    source = model(f"g (float[N,3,8,8] x, {head}) => (float y) {{ {body} }}", **({"w": W} if "w" in body else {}))
    assert list(find_convs(source.graph)) == []
    assert [reason for _, reason in unsupported_convs(source.graph)] == [reason]


def test_a_weight_without_a_kernel_is_none():
    source = model("g (float[N,3,8,8] x) => (float y) { y = Conv(x, w) }", w=W)
    source.graph.nodes[0].inputs[1].values = W[:, :, 0, 0]
    assert dict(unsupported_convs(source.graph)) == {"Conv_0": "its weight has 2 dimensions, and so no kernel"}


def test_a_weight_that_callers_may_override_is_an_input():
    content = proto("g (float[N,3,8,8] x, float[4,3,3,3] w) => (float y) { y = Conv(x, w) }", w=W)
    assert dict(unsupported_convs(from_proto(content).graph)) == {"Conv_0": "its weight is the model input 'w'"}
    content.ir_version = 3
    assert len(list(find_convs(from_proto(content).graph))) == 1


def test_convs_in_subgraphs_are_named():
    branches = """then_branch = a () => (float t) { t = Conv(x, w) }, else_branch = b () => (float e) { e = Relu(x) }"""
    source = model(f"g (float[N,3,8,8] x, bool c) => (float y) {{ y = If(c) <{branches}> }}", w=W)
    assert list(find_convs(source.graph)) == []
    assert list(unsupported_convs(source.graph)) == [("Conv_0", "inside a subgraph of If 'If_0'")]


def test_a_conv_of_another_domain_is_no_conv():
    source = model(
        "g (float[N,3,8,8] x) => (float y) { y = com.example.Conv(x, w) }", domains=', "com.example" : 1', w=W
    )
    assert list(find_convs(source.graph)) == list(unsupported_convs(source.graph)) == []


def test_pickled_it_leaves_the_graph_behind():
    graph = "g (float[1,4,8,8] x) => (float[1,6,4,4] y) { a = Relu(x) y = Conv<pads=[1,1,1,1], strides=[2,2]>(a, w) }"
    source = model(graph, w=normal(6, 4, 3, 3)).graph
    (conv,) = find_convs(source)
    alone: Conv = pickle.loads(pickle.dumps(conv))
    assert (alone.name, alone.input.name, alone.output.name) == (conv.name, "a", "y")
    assert (alone.strides, alone.pads((8, 8))) == ((2, 2), [(1, 1), (1, 1)])
    assert np.array_equal(alone.weight, conv.weight)
    assert not alone.input.inputs and conv.input.inputs
