"""Which engine `auto` is, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from onnx_compress import CompressError
from onnx_compress.runtime.training import engines
from onnx_compress.runtime.training.engines import find_engine
from onnx_compress.runtime.training.ort.environment import VARIABLE
from ort_environment import FOLDER, ort_engine

PACKAGE = "onnx_compress.runtime.training.torch_"
PYTORCH = r"pip install 'onnx-compress\[torch\]'"


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(engines, "find_spec", lambda name: None)


def test_pytorch_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv(VARIABLE, str(FOLDER))
    assert find_engine("auto").name == "torch"


@pytest.mark.usefixtures("without_torch")
def test_without_it_onnxruntime_training_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ort_engine()
    monkeypatch.setenv(VARIABLE, str(FOLDER))
    assert find_engine("auto").name == "ort"


@pytest.mark.usefixtures("without_torch")
def test_with_neither_pytorch_is_named_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(CompressError, match=rf"neither PyTorch .* \({PYTORCH}; or onnx-compress train-env create\)"):
        find_engine("auto")


@pytest.mark.usefixtures("without_torch")
def test_the_install_command_is_named() -> None:
    with pytest.raises(CompressError, match=f"{PYTORCH}, or engine=ort"):
        find_engine("torch")
