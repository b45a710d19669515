"""The ort engine for tests; they are skipped where its environment is missing. `make test` makes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from onnx_compress.runtime.training.ort import OrtEngine
from onnx_compress.runtime.training.ort.environment import VARIABLE, find_interpreter, is_ready

FOLDER = Path(os.environ.get(VARIABLE) or Path(__file__).parents[1] / ".stamp" / "train-env")


def ort_engine() -> OrtEngine:
    if not is_ready(FOLDER):
        pytest.skip(f"no environment for onnxruntime-training at {FOLDER}")
    return OrtEngine(python=find_interpreter(FOLDER), threads=1)
