"""The calibration cache: TensorRT's format, out and back."""

from __future__ import annotations

import numpy as np
from calibration_caches import parse_cache
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.targets.calibration_cache import format_cache

NAMES = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).map(str.strip).filter(bool)
SCALES = st.floats(2.0**-126, 2.0**100, width=32)


def test_the_format():
    text = format_cache("8502", {"conv1": 1 / 127, "a:0": 1.0})
    assert text == "TRT-8502-EntropyCalibration2\nconv1: 3c010204\na:0: 3f800000\n"


@given(st.dictionaries(NAMES, SCALES))
def test_out_and_back(scales: dict[str, float]):
    assert parse_cache(format_cache("8201", scales)) == ("8201", {k: np.float32(v) for k, v in scales.items()})
