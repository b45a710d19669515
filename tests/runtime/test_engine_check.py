"""A default session of onnxruntime gives what the model says, or the run is refused; for TensorRT a note says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from builders import Images, model, normal
from onnx_compress.compiler.errors import Unavailable
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.pipeline.base import Pass, PassRecord, PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.manager import PassManager
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.runtime.engine_check import EngineCheck
from onnx_compress.runtime.verify import Verify

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


def context(subject: Model, target: str = "ort", data: Images | None = IMAGES) -> Context:
    """Of a run whose original has the weights of `subject` as floats."""
    tensors = subject.graph.tensors()
    scale = tensors["sw"].values[0] if "sw" in tensors else np.float32(1)
    original = model(FLOAT, w=tensors["w"].values.astype(np.float32) * scale, b=BIAS)
    return Context(RunOptions(target=target), data=data, original=original.graph)


def checked(subject: Model, target: str = "ort", data: Images | None = IMAGES) -> PassRecord:
    ctx = context(subject, target, data)
    record = PassRecord(2, "legalize", "legalize", PassResult())
    EngineCheck(2, Verify()).after(record, subject, ctx)
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


@dataclass(frozen=True)
class Failing(Pass):
    """Stops at once."""

    name: ClassVar[str] = "failing"

    def run(self, graph, ctx):
        raise ValueError("at once")


@dataclass(frozen=True)
class Idle(Pass):
    """Finds nothing to do."""

    name: ClassVar[str] = "idle"

    def run(self, graph, ctx):
        return PassResult()


@pytest.mark.parametrize("passes", [[Idle()], [Failing(), Idle()]], ids=["nothing changed", "left out"])
def test_a_network_that_no_pass_has_changed_is_checked_too(passes: list[Pass]):
    verify, subject = Verify(), quantized(1e-10)
    instruments = [verify, EngineCheck(len(passes), verify)]
    records = PassManager(passes, instruments, keep_going=True).run(subject, context(subject))
    assert "a default session" in records[-1].result.notes[-1]
