"""NVIDIA's parser and builder without a GPU: what it says of good and bad models, and what its death looks like."""

from __future__ import annotations

import sys
from pathlib import Path

import builders
import numpy as np
import onnx
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.tensorrt import rtx
from onnx_compress.runtime.tensorrt.rtx import EngineCheck, check_engine

CONV = "g (float[1,3,8,8] x) => (float[1,4,6,6] y) { y = Conv(x, w) }"
real = pytest.mark.skipif(not rtx.available(), reason="TensorRT for RTX is not installed")


def check(folder: Path, model: onnx.ModelProto, **options: bool) -> EngineCheck:
    onnx.save(model, folder / "m.onnx")
    return check_engine(folder / "m.onnx", **options)


@real
def test_an_engine_is_built(tmp_path: Path):
    found = check(tmp_path, builders.proto(CONV, w=builders.normal(4, 3, 3, 3)))
    assert found.parsed and found.built and found.messages == []
    assert found.engine_bytes is not None and found.engine_bytes > 1000
    assert found.version.count(".") >= 2 and found.seconds > 0


@real
def test_parsing_alone(tmp_path: Path):
    found = check(tmp_path, builders.proto(CONV, w=builders.normal(4, 3, 3, 3)), build=False)
    assert found.parsed and not found.built and found.engine_bytes is None and found.messages == []


@real
@pytest.mark.parametrize("stored", ["float", "int8"])
def test_both_forms_of_quantized_weights(tmp_path: Path, stored: str):
    """FP32 -> Q -> DQ, and INT8 -> DQ; open batch and open sizes get nominal ones."""
    quantize = "c = QuantizeLinear<axis=0>(w, s, z)" if stored == "float" else ""
    text = f"""g (float[N,3,H,W] x) => (float[N,4,P,Q] y) {{
        a = QuantizeLinear(x, xs, xz)
        b = DequantizeLinear(a, xs, xz)
        {quantize}
        d = DequantizeLinear<axis=0>({"c" if stored == "float" else "w"}, s, z)
        y = Conv<kernel_shape=[3,3]>(b, d)
    }}"""
    weight = builders.normal(4, 3, 3, 3)
    scale = np.abs(weight).max((1, 2, 3)) / 127
    whole = np.round(weight / scale[:, None, None, None]).astype(np.int8)
    scales = {"s": scale, "z": np.zeros(4, np.int8), "xs": np.float32(0.02), "xz": np.int8(0)}
    found = check(tmp_path, builders.proto(text, w=weight if stored == "float" else whole, **scales))
    assert found.parsed and found.built, found.messages


@real
def test_a_refused_node_is_named(tmp_path: Path):
    text = 'g (float[4] x) => (float[K] y) { t = Relu(x) ["pick"] y = Compress(t, c) }'
    found = check(tmp_path, builders.proto(text, c=np.array([True, False])))
    assert not found.parsed and not found.built and found.engine_bytes is None
    assert found.messages == ["node 1 'pick' (Compress): TensorRT has no importer for this operator"]


@real
def test_the_builder_says_why(tmp_path: Path):
    text = "g (float[N,3,8] x) => (float[A,B] y) { y = Reshape(x, t) }"
    found = check(tmp_path, builders.proto(text, t=np.array([7, -1])))
    assert found.parsed and not found.built and len(found.messages) == 1
    assert "reshape" in found.messages[0] and ".cpp" not in found.messages[0]


@real
def test_a_file_that_is_no_model(tmp_path: Path):
    (tmp_path / "m.onnx").write_bytes(b"hello, this is text\n" * 20)
    found = check_engine(tmp_path / "m.onnx")
    assert not found.parsed and found.messages == ["the model has no output"]


@real
def test_external_data(tmp_path: Path):
    model = builders.proto(CONV, w=builders.normal(4, 3, 3, 3))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert check_engine(tmp_path / "m.onnx").built
    (tmp_path / "m.data").unlink()
    found = check_engine(tmp_path / "m.onnx")
    assert not found.parsed and "initializer" in found.messages[0]


def dies(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, limit: float = 60) -> EngineCheck:
    """What is found when the library, a stand-in, ends as `code` does after it has been told to parse."""
    (folder / "tensorrt_rtx.py").write_text(
        f"""
class ILogger: ...
class Builder:
    def __init__(self, log): log.log(type('W', (), dict(name='WARNING')), 'Zero scale')
    def create_network(self, flags): return None
class OnnxParser:
    def __init__(self, network, log): ...
    def parse_from_file(self, path):
        {code}
__version__ = "9.9"
"""
    )
    (folder / "m.onnx").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return check_engine(folder / "m.onnx", limit=limit)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", "crashed (SIGSEGV), at the stage 'parse'"),
        ("raise ValueError('odd')", "failed: ValueError: odd"),
        ("import sys; sys.exit(3)", "failed: exit code 3"),
    ],
)
def test_death_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str):
    found = dies(tmp_path, monkeypatch, code)
    assert not found.parsed and not found.built and found.version == "9.9"
    assert words in found.messages[0] and found.messages[1] == "warning: Zero scale"


def test_endless_work_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = dies(tmp_path, monkeypatch, "import time; time.sleep(600)", limit=1)
    assert not found.parsed and "was stopped after 1 s" in found.messages[0]


def test_a_missing_package_names_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "m.onnx").write_bytes(b"")
    monkeypatch.setattr(rtx, "available", lambda: False)
    with pytest.raises(CompressError, match=r"pip install 'onnx-compress\[trt-rtx\]'"):
        check_engine(tmp_path / "m.onnx")


def test_a_package_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in rtx.MODULES:
        (tmp_path / f"{name}.py").write_text("raise ImportError('no libcuda')")
    (tmp_path / "m.onnx").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(CompressError, match=r"cannot be loaded: no libcuda.*trt-rtx"):
        check_engine(tmp_path / "m.onnx")


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(CompressError, match="no such file"):
        check_engine(tmp_path / "m.onnx")
