"""TensorRT's calibration cache: the ranges of all tensors of a float model, for INT8 without Q/DQ nodes.

    TRT-8502-EntropyCalibration2
    conv1: 3c010a14

The first line names the TensorRT version and the calibrator; then a line per tensor, with the FP32 scale amax / 127 as
big-endian hexadecimal. The reader splits a line at its last colon. `trtexec --int8 --calib=FILE` reads it; it is the
only way to INT8 for the DLA. Another version's cache is calibrated anew, so the header must match.

Source: TensorRT 8.5 samples/common/sampleEngines.cpp (the reader); NVIDIA/TensorRT#2036 (an example).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

SUFFIX = ".calib"
CALIBRATOR = "EntropyCalibration2"


def format_cache(version: str, scales: Mapping[str, float]) -> str:
    """The text of a cache; `version` as in `8502`, `scales` by tensor name."""
    lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items()]
    return "\n".join([f"TRT-{version}-{CALIBRATOR}", *lines]) + "\n"
