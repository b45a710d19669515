"""One rule, one test; numbers through onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, node, normal, run
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.pipeline.base import Decision
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.fold_batchnorm import FoldBatchnorm


def parameters(channels: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    return {
        "s": normal(channels, seed=1, dtype=dtype),
        "b": normal(channels, seed=2, dtype=dtype),
        "m": normal(channels, seed=3, dtype=dtype),
        "v": np.abs(normal(channels, seed=4, dtype=dtype)) + dtype(0.1),
    }


def fold(before: Model, rtol: float = 1e-4, **feeds: np.ndarray) -> list[Decision]:
    expected = run(before, **feeds)
    result = FoldBatchnorm().run(before.graph, Context())
    check_graph(before)
    for name, value in run(before, **feeds).items():
        np.testing.assert_allclose(value, expected[name], rtol=rtol, atol=rtol)
    assert result.changed == any(decision.action == "folded" for decision in result.decisions)
    return result.decisions


@pytest.mark.parametrize(
    ("layer", "shape", "x"),
    [
        pytest.param("Conv", (4, 3, 3, 3), (2, 3, 8, 8), id="2-D"),
        pytest.param("Conv", (4, 3, 3), (2, 3, 8), id="1-D"),
        pytest.param("Conv", (4, 3, 1, 2, 3), (2, 3, 4, 4, 4), id="3-D"),
        pytest.param("Conv<group = 2>", (4, 3, 3, 3), (2, 6, 8, 8), id="groups"),
        pytest.param("Conv<group = 4>", (4, 1, 3, 3), (2, 4, 8, 8), id="depthwise"),
        pytest.param("Conv<strides = [2, 1], pads = [0, 1, 2, 0]>", (4, 3, 3, 3), (2, 3, 8, 8), id="strides, pads"),
        pytest.param("ConvTranspose", (3, 4, 3, 3), (2, 3, 8, 8), id="ConvTranspose"),
        pytest.param("ConvTranspose<group = 2>", (6, 2, 3, 3), (2, 6, 8, 8), id="grouped ConvTranspose"),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_conv(layer: str, shape: tuple[int, ...], x: tuple[int, ...], bias: bool):
    axes = ",".join("NCDHW"[: len(x)])
    inputs = "x, w, a" if bias else "x, w"
    weights = parameters(4) | {"w": normal(*shape)} | ({"a": normal(4, seed=5)} if bias else {})
    before = model(
        f"g (float[N,{','.join(map(str, x[1:]))}] x) => (float[{axes}] y) "
        f"{{ c = {layer}({inputs}) y = BatchNormalization<epsilon = 0.01>(c, s, b, m, v) }}",
        **weights,
    )
    (decision,) = fold(before, x=normal(*x, seed=9))
    assert decision.action == "folded"
    assert [node.op for node in before.graph.nodes] == [layer.split("<")[0]]
    assert before.graph.nodes[0].outputs[0].name == "y"


@pytest.mark.parametrize("attributes", ["", "<transB = 1>", "<alpha = 0.5, beta = 2.0>", "<transA = 1, beta = 0.0>"])
@pytest.mark.parametrize("bias", [None, (4,), (1, 4), (1,)])
def test_gemm(attributes: str, bias: tuple[int, ...] | None):
    x = (3, 2) if "transA" in attributes else (2, 3)
    inputs = "x, w, a" if bias else "x, w"
    weights = parameters(4) | {"w": normal(4, 3) if "transB" in attributes else normal(3, 4)}
    weights |= {"a": normal(*bias, seed=5)} if bias else {}
    before = model(
        f"g (float[{x[0]},{x[1]}] x) => (float[N,4] y) "
        f"{{ c = Gemm{attributes}({inputs}) y = BatchNormalization(c, s, b, m, v) }}",
        **weights,
    )
    (decision,) = fold(before, x=normal(*x, seed=9))
    assert decision.action == "folded"


def test_half_precision_stays_half():
    before = model(
        "g (float16[N,3,8,8] x) => (float16[N,4,6,6] y) { c = Conv(x, w) y = BatchNormalization(c, s, b, m, v) }",
        w=normal(4, 3, 3, 3, dtype=np.float16),
        **parameters(4, np.float16),
    )
    assert fold(before, rtol=5e-2, x=normal(1, 3, 8, 8, dtype=np.float16))[0].action == "folded"
    assert before.graph.nodes[0].inputs[1].dtype == np.float16


HEADS = "g (float[N,3,8,8] x) => (float[N,4,6,6] y) { n = Neg(x) c = Conv(x, w) e = Conv(n, w) %s y = Add(d, f) }"


def test_equal_norms_behind_one_weight_fold_into_it_once():
    equal = "d = BatchNormalization(c, s, b, m, v) f = BatchNormalization(e, s, b, m, v)"
    before = model(HEADS % equal, w=normal(4, 3, 3, 3), **parameters(4))
    assert [each.action for each in fold(before, x=normal(1, 3, 8, 8, seed=9))] == ["folded"] * 2
    convs = [node for node in before.graph.nodes if node.op == "Conv"]
    assert [convs[0].inputs[i] is convs[1].inputs[i] for i in (1, 2)] == [True] * 2


@pytest.mark.parametrize(
    "behind",
    [
        "d = BatchNormalization(c, s, b, m, v) f = Relu(e)",
        "d = BatchNormalization(c, s, b, m, v) f = BatchNormalization(e, s, m, m, v)",
        "d = BatchNormalization(c, s, b, m, v) k = BatchNormalization(e, s, b, m, v) f = Add(k, e)",
    ],
)
def test_a_shared_weight_is_not_stored_twice(behind):
    before = model(HEADS % behind, w=normal(4, 3, 3, 3), **parameters(4))
    decisions = fold(before, x=normal(1, 3, 8, 8, seed=9))
    assert {each.action for each in decisions} == {"kept"}
    assert "shares its weight" in decisions[0].reason
    assert sum(tensor.name == "w" for tensor in before.graph.tensors().values()) == 1


def test_parameters_in_constant_nodes_count_as_constant():
    before = model(
        """g (float[N,3,8,8] x) => (float[N,1,8,8] y) { w = Constant<value = float[1,3,1,1] {1, 2, 3}>() i = Identity(w)
        s = Constant<value_floats = [2.0]>() b = Constant<value_floats = [3.0]>()
        c = Conv(x, i) y = BatchNormalization(c, s, b, s, b) }"""
    )
    assert fold(before, x=normal(1, 3, 8, 8))[0].action == "folded"


CONV = "c = Conv(x, w) y = BatchNormalization(c, s, b, m, v)"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(f"{{ {CONV} z = Relu(c) }}", "read elsewhere", id="two readers"),
        pytest.param("{ c = Relu(x) y = BatchNormalization(c, s, b, m, v) z = Neg(y) }", "follows Relu", id="no Conv"),
        pytest.param("{ y = BatchNormalization(x, s, b, m, v) z = Neg(y) }", "follows an input", id="an input"),
        pytest.param(
            "{ c = Conv(x, w) r = Abs(s) y = BatchNormalization(c, r, b, m, e) z = Neg(y) }",
            "not constant",
            id="computed",
        ),
        pytest.param(
            "{ f = Mul(w, e3) c = Conv(x, f) y = BatchNormalization(c, s, b, m, v) z = Neg(y) }",
            "'Conv_1' is not",
            id="weight",
        ),
        pytest.param(
            """{ q = QuantizeLinear(w, sc, zp) f = DequantizeLinear(q, sc, zp) c = Conv(x, f)
            y = BatchNormalization(c, s, b, m, v) z = Neg(y) }""",
            "is quantized",
            id="quantized by Q/DQ",
        ),
        pytest.param(
            "{ f = DequantizeLinear(i8, sc, zp) c = Conv(x, f) y = BatchNormalization(c, s, b, m, v) z = Neg(y) }",
            "quantized",
            id="quantized by DQ",
        ),
    ],
)
def test_kept_with_the_reason(body: str, reason: str):
    before = model(
        f"""g (float[N,3,8,8] x, float[3] e, float[3,3,1,1] e3) => (float[N,3,8,8] y, float[N,3,8,8] z)
        <float sc = {{0.1}}, int8 zp = {{0}}> {body}""",
        w=normal(3, 3, 1, 1),
        i8=np.ones((3, 3, 1, 1), np.int8),
        **parameters(3),
    )
    feeds = {"x": normal(1, 3, 8, 8), "e": np.ones(3, np.float32), "e3": normal(3, 3, 1, 1)}
    (decision,) = fold(before, **feeds)
    assert decision.action == "kept"
    assert reason in decision.reason


def test_a_variance_below_zero_is_not_folded():
    text = f"g (float[N,3,8,8] x) => (float[N,3,8,8] y) {{ {CONV} }}"
    before = model(text, w=normal(3, 3, 1, 1), **{**parameters(3), "v": np.array([1, -1, 1], np.float32)})
    (decision,) = FoldBatchnorm().run(before.graph, Context()).decisions
    assert (decision.action, decision.reason) == ("kept", "its variance is not positive")


def test_a_conv_whose_output_is_a_model_output_is_left_alone():
    before = model(
        f"g (float[N,3,8,8] x) => (float[N,3,8,8] y, float[N,3,8,8] c) {{ {CONV} }}",
        w=normal(3, 3, 1, 1),
        **parameters(3),
    )
    assert "read elsewhere" in fold(before, x=normal(1, 3, 8, 8))[0].reason


def test_training_mode_is_kept():
    before = model(
        """g (float[N,3,8,8] x) => (float[N,3,8,8] y) {
        c = Conv(x, w) y, rm, rv = BatchNormalization<training_mode = 1>(c, s, b, m, v) }""",
        w=normal(3, 3, 1, 1),
        **parameters(3),
    )
    (decision,) = FoldBatchnorm().run(before.graph, Context()).decisions
    assert (decision.action, decision.reason) == ("kept", "it is in training mode")


def test_old_opsets_say_training_in_their_own_way():
    old = model(
        f"g (float[N,3,8,8] x) => (float[N,3,8,8] y) {{ {CONV} }}", opset=6, w=normal(3, 3, 1, 1), **parameters(3)
    )
    assert "training" in FoldBatchnorm().run(old.graph, Context()).decisions[0].reason
    node(old.graph, "BatchNormalization").attrs["is_test"] = 1
    assert FoldBatchnorm().run(old.graph, Context()).decisions[0].action == "folded"


def test_per_position_statistics_are_kept():
    old = model(
        f"g (float[N,3,8,8] x) => (float[N,3,8,8] y) {{ {CONV} }}", opset=8, w=normal(3, 3, 1, 1), **parameters(3)
    )
    node(old.graph, "BatchNormalization").attrs["spatial"] = 0
    assert "spatial" in FoldBatchnorm().run(old.graph, Context()).decisions[0].reason
