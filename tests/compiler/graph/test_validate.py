"""Models that come in broken."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.compiler.errors import CompressError
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
