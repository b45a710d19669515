"""INT8 by a calibration cache: which tensors are named, which share a range, and the float model beside it."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Images, model, normal
from calibration_caches import parse_cache
from onnx_compress import compress
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.graph.io import to_proto
from onnx_compress.compiler.lint import lint
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.quantization.calibration_cache import float_tensors
from onnx_compress.passes.quantize import CACHE_WITHOUT_DATA, Quantize

TEXT = """g (float[N,4,8,8] x) => (float[N,4,M,M] y, int64[R] s) {
    a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w)
    b = Relu(a)
    p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(b)
    q = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)
    y = Add(p, q)
    s = Shape(y)
}"""


DATA = Images(normal(30, 4, 8, 8, seed=4))


def cache(target: str = "xavier", **options: object) -> dict[str, float]:
    before = model(TEXT, w=normal(4, 4, 3, 3))
    proto, ctx = to_proto(before), Context(RunOptions(target=target), DATA)
    result = Quantize(form="cache", **options).run(before.graph, ctx)
    assert to_proto(before) == proto and not result.changed
    version, scales = parse_cache(ctx.state.sidecars[".calib"])
    assert version == TARGETS[target].calibration
    return scales


def test_every_float_tensor_is_named():
    assert (
        list(cache()) == ["x", "a", "b", "p", "q", "y"] == list(float_tensors(model(TEXT, w=normal(4, 4, 3, 3)).graph))
    )


def test_scales_reach_the_largest_value():
    assert cache(method="minmax")["x"] == pytest.approx(np.abs(DATA.x).max() / 127, rel=1e-6)


def test_data_movement_shares_a_range():
    scales = cache()
    assert scales["b"] == scales["p"] and scales["x"] == scales["q"]
    assert scales["p"] != scales["q"]


def test_operands_share_a_range_on_the_dla():
    scales = cache("xavier-dla")
    assert scales["p"] == scales["q"] != scales["y"]


def test_without_data_there_are_no_ranges():
    ctx = Context(RunOptions(target="xavier-dla"))
    assert Quantize().run(model(TEXT, w=normal(4, 4, 3, 3)).graph, ctx).notes == [CACHE_WITHOUT_DATA]
    assert not ctx.state.sidecars


def test_engines_that_read_no_cache_refuse():
    with pytest.raises(UsageError, match="trt10 reads no calibration cache"):
        Quantize(form="cache").run(model(TEXT, w=normal(4, 4, 3, 3)).graph, Context(RunOptions(target="trt10"), DATA))


def test_model_and_cache_are_written_together(tmp_path):
    source = to_proto(model(TEXT, w=normal(4, 4, 3, 3)))
    output = tmp_path / "net.onnx"
    result = compress(source, "quantize", target="xavier-dla", data={"x": DATA.x}, output=output)
    version, scales = parse_cache((tmp_path / "net.calib").read_text())
    assert version == "8502" and set(scales) >= {"x", "y"}
    assert "--calib=" + str(tmp_path / "net.calib") in result.report["target"]["command"]
    assert not [finding for finding in lint(result.proto, TARGETS["xavier-dla"]) if finding.severity == "error"]


def test_an_existing_cache_is_not_replaced_unasked(tmp_path):
    (tmp_path / "net.calib").write_text("mine")
    source = to_proto(model(TEXT, w=normal(4, 4, 3, 3)))
    result = compress(source, "quantize", target="xavier-dla", data={"x": DATA.x})
    with pytest.raises(UsageError, match="exists already"):
        result.save(tmp_path / "net.onnx")
    assert (tmp_path / "net.calib").read_text() == "mine" and not (tmp_path / "net.onnx").exists()
