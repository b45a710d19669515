"""A default session of onnxruntime gives what the model says, or the run is refused."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Images, model, normal
from onnx_compress.compiler.errors import Unavailable
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.pipeline.base import PassRecord, PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.runtime.engine_check import EngineCheck

IMAGES = Images(normal(8, 4, 8, 8))
FLOAT = "g (float[N,4,8,8] x) => (float[N,4,8,8] y) { y = Conv(x, w, b) }"
PAIRS = """g (float[N,4,8,8] x) => (float[N,4,8,8] y) {
    q = QuantizeLinear(x, sx, zx) d = DequantizeLinear(q, sx, zx)
    v = DequantizeLinear<axis = 0>(w, sw, zw) c = Conv(d, v, b)
    r = QuantizeLinear(c, sy, zx) y = DequantizeLinear(r, sy, zx) }"""
BIAS = np.full(4, 3, np.float32)


def quantized(weight_scale: float) -> Model:
    """Its weights are of size 1 in steps of `weight_scale`, or all but dead where that is tiny."""
    weights = {"w": np.rint(normal(4, 4, 1, 1, seed=1) * 30).astype(np.int8), "b": BIAS}
    scales = {
        "sx": np.array(0.02, np.float32),
        "sy": np.array(0.05, np.float32),
        "sw": np.full(4, weight_scale, np.float32),
    }
    return model(PAIRS, zx=np.array(128, np.uint8), zw=np.zeros(4, np.int8), **weights, **scales)


def checked(subject: Model, target: str = "ort", data: Images | None = IMAGES) -> PassRecord:
    codes = subject.graph.tensors()["w"].values.astype(np.float32)
    original = model(FLOAT, w=codes * subject.graph.tensors()["sw"].values[0], b=BIAS)
    ctx = Context(RunOptions(target=target), data=data, original=original.graph)
    record = PassRecord(2, "legalize", "legalize", PassResult())
    EngineCheck(2).after(record, subject, ctx)
    return record


def test_fused_kernels_that_agree():
    assert checked(quantized(0.01)).figures["engine_error"] < 0.01


def test_kernels_that_overflow_are_refused():
    with pytest.raises(Unavailable, match="output 'y': a default session"):
        checked(quantized(1e-10))


def test_only_of_onnxruntime_and_only_with_data():
    assert not checked(quantized(1e-10), target="trt10").figures
    assert not checked(quantized(1e-10), data=None).figures
