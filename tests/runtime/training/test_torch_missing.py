"""Without PyTorch the engine says how to get it."""

from __future__ import annotations

import sys

import pytest
from onnx_compress import CompressError
from onnx_compress.runtime.training.engines import find_engine

PACKAGE = "onnx_compress.runtime.training.torch_"


def test_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CompressError, match=r"pip install 'onnx-compress\[torch\]', or engine=ort"):
        find_engine("torch")
