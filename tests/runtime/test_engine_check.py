"""A default session of onnxruntime gives what the model says, or the run is refused; for TensorRT a note says so."""

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
from onnx_compress.runtime.session import model_session
from onnx_compress.runtime.verify import Verify, outputs

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
    tensors = subject.graph.tensors()
    scale = tensors["sw"].values[0] if "sw" in tensors else np.float32(1)
    original = model(FLOAT, w=tensors["w"].values.astype(np.float32) * scale, b=BIAS)
    ctx = Context(RunOptions(target=target), data=data, original=original.graph)
    record = PassRecord(2, "legalize", "legalize", PassResult())
    verify = Verify()
    if data is not None:
        verify.outputs = outputs(model_session(subject), verify.feeds(subject.graph, ctx))
    EngineCheck(2, verify).after(record, subject, ctx)
    return record


def test_fused_kernels_that_agree():
    assert checked(quantized(0.01)).figures["engine_error"] < 0.01


def test_kernels_that_overflow_are_refused():
    with pytest.raises(Unavailable, match="output 'y': a default session"):
        checked(quantized(1e-10))


@pytest.mark.parametrize(("scale", "count"), [(0.01, 0), (1e-10, 1)])
def test_for_tensorrt_a_note(scale: float, count: int):
    record = checked(quantized(scale), target="trt10")
    assert not record.figures
    assert len([note for note in record.result.notes if "unless session.disable_quant_qdq=1 is set" in note]) == count


def test_without_data_or_pairs_nothing_is_compared():
    for target in ("ort", "trt10"):
        record = checked(quantized(1e-10), target, data=None)
        assert not record.figures
        assert not record.result.notes
    record = checked(model(FLOAT, w=normal(4, 4, 1, 1), b=BIAS), "trt10")
    assert not record.result.notes
