"""Runs over networks of an opset that no engine supports any more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import normal, proto, run
from onnx_compress import compress
from onnx_compress.compiler.errors import CompressError

W, B = 0.3 * normal(16, 3, 3, 3), normal(16, seed=1)
SUM = """g (float[N,3,16,16] x) => (float[N,16,16,16] y)
    { c = Conv<kernel_shape = [3,3], pads = [1,1,1,1]>(x, w) d = Add<broadcast = 1, axis = 1>(c, b) y = Relu(d) }"""
NEW = SUM.replace("Add<broadcast = 1, axis = 1>(c, b)", "Add(c, b)")


@pytest.mark.parametrize("target", ["xavier", "trt10", "ort"])
@pytest.mark.parametrize("passes", ["cleanup", "basis:macs=0.95", "quantize"])
def test_operands_stay_where_they_belong(passes: str, target: str, tmp_path: Path):
    """As many channels as columns: aligned at the last axis the operand would fit, too."""
    np.savez(tmp_path / "x.npz", x=normal(64, 3, 16, 16))
    old = proto(SUM, opset=6, ir=4, w=W, b=B)
    result = compress(old, passes, data=tmp_path / "x.npz", target=target)
    x = normal(4, 3, 16, 16, seed=3)
    expected = run(proto(NEW, opset=13, w=W, b=B.reshape(16, 1, 1)), x=x)["y"]
    found = run(result.proto, x=x)["y"]
    assert np.linalg.norm(found - expected) < (1e-5 if passes == "cleanup" else 0.5) * np.linalg.norm(expected)
    assert "opset 6, which no engine supports, was raised to 13" in result.report["notes"]


def test_what_cannot_be_raised_is_refused_by_name():
    old = proto(SUM.replace("axis = 1", "axis = 9"), opset=6, ir=4, w=W, b=B)
    with pytest.raises(CompressError, match="opset 6 could not be raised to 13: node 'Add_1': axis=9 does not fit"):
        compress(old, "cleanup")
