"""Models that come in broken."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.validate import validate

SCALED = "g (float[N,4,8,8] x) => (float[N,6,8,8] y) { w = Mul(v, s) y = Conv(x, w) }"


@pytest.mark.parametrize("scale", [np.nan, np.inf, 3e38])
def test_a_computed_weight_is_finite(scale: float):
    scales = np.array([1, 1, 1, 1, scale, 1], np.float32).reshape(6, 1, 1, 1)
    arrays = {"v": 100 * normal(6, 4, 1, 1), "s": scales}
    with pytest.raises(CompressError, match="the weight 'w' holds NaN or Inf"):
        validate(model(SCALED, **arrays))


def test_a_computed_weight_passes():
    validate(model(SCALED, v=normal(6, 4, 1, 1), s=normal(6, 1, 1, 1)))


def test_a_contradicting_output_is_left_to_the_checker():
    validate(model("g (float[N,4,8,8] x) => (float[N,6] y) { y = Conv(x, w) }", w=normal(6, 4, 1, 1)))


def test_a_weight_that_does_not_fit_its_input_is_named():
    with pytest.raises(CompressError, match=r"weight \(6, 3, 1, 1\).*do not fit"):
        validate(model("g (float[N,4,8,8] x) => (float[N,6,8,8] y) { y = Conv(x, w) }", w=normal(6, 3, 1, 1)))


NORM = "BatchNormalization"
TRAINING = {
    "the attribute": (17, f"y, a, d = {NORM}<training_mode=1>(c, s, s, s, s)", "training_mode=1"),
    "outputs without the attribute": (17, f"y, a, d = {NORM}(c, s, s, s, s)", "3 outputs"),
    "outputs": (9, f"y, a, d, e, f = {NORM}(c, s, s, s, s)", "5 outputs"),
    "is_test of a norm": (6, f"y = {NORM}<is_test=0>(c, s, s, s, s)", "is_test=0"),
    "no is_test": (6, f"y = {NORM}(c, s, s, s, s)", "is_test=0"),
    "is_test of a Dropout": (6, "y = Dropout<is_test=0>(c)", "is_test=0"),
    "the input of a Dropout": (13, "y = Dropout(c, half, yes)", "training_mode is true"),
    "a node of a subgraph": (13, "y = If(no) <then_branch = {THEN}, else_branch = {ELSE}>", "training_mode is true"),
}
THEN = "one () => (float[N,4,8,8] t) { t = Dropout(c, half, yes) }"
ELSE = "other () => (float[N,4,8,8] e) { e = Identity(c) }"
INFERENCE = {
    "a norm": (17, f"y = {NORM}(c, s, s, s, s)"),
    "outputs without a name": (9, f"y, , , , , = {NORM}(c, s, s, s, s)"),
    "a tested norm": (6, f"y = {NORM}<is_test=1>(c, s, s, s, s)"),
    "a tested Dropout": (6, "y = Dropout<is_test=1>(c)"),
    "a Dropout of opset 7": (7, "y = Dropout(c)"),
    "a Dropout": (13, "y = Dropout(c, half, no)"),
}


def with_conv(tail: str, opset: int) -> Model:
    tail = tail.replace("{THEN}", THEN).replace("{ELSE}", ELSE)
    text = f"g (float[N,4,8,8] x) => (float[N,4,8,8] y) {{ c = Conv(x, w) {tail} }}"
    stored = {"s": np.ones(4, np.float32), "half": np.float32(0.5), "yes": np.array(True), "no": np.array(False)}
    used = {name: np.asarray(value) for name, value in stored.items() if name in tail}
    return model(text, opset=opset, w=normal(4, 4, 1, 1), **used)


@pytest.mark.parametrize("case", TRAINING)
def test_training_mode_is_refused_at_the_node(case: str):
    opset, tail, reason = TRAINING[case]
    with pytest.raises(CompressError, match=f"is in training mode: .*{reason}") as caught:
        validate(with_conv(tail, opset))
    assert caught.value.where.startswith("node '")
    assert caught.value.fix == "export the network in inference mode"


@pytest.mark.parametrize("case", INFERENCE)
def test_inference_mode_passes(case: str):
    opset, tail = INFERENCE[case]
    validate(with_conv(tail, opset))
