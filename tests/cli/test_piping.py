"""A model, or a report, to standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import front
import numpy as np
import pytest
from front import call

PIPELINE = ("-p", "basis:energy=0.9")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return front.write_model(tmp_path / "m.onnx")


def test_the_model_is_the_one_that_a_file_gets(model: Path, capsysbinary: pytest.CaptureFixture[bytes]):
    assert call(model, *PIPELINE, "-o", "-") == 0
    piped = capsysbinary.readouterr()
    assert call(model, *PIPELINE, "-q") == 0
    assert piped.out == (model.parent / "m.compressed.onnx").read_bytes()
    assert b"MACs" in piped.err


def test_no_file_appears(model: Path, capsysbinary: pytest.CaptureFixture[bytes]):
    call(model, *PIPELINE, "-q", "-o", "-")
    assert [path.name for path in model.parent.iterdir()] == ["m.onnx"]
    assert not capsysbinary.readouterr().err


def test_a_terminal_gets_no_model(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert call(model, *PIPELINE, "-o", "-") == 2
    assert "standard output is a terminal" in capsys.readouterr().err


def test_a_model_with_another_file_is_not_piped(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model, data = front.write_model(tmp_path / "m.onnx"), tmp_path / "d.npy"
    np.save(data, front.images(80))
    assert call(model, "-p", "quantize:form=cache", "--data", data, "-o", "-") == 1
    assert "comes with another file (.calib)" in capsys.readouterr().err


def test_json_is_the_report(model: Path, capsys: pytest.CaptureFixture[str]):
    report = model.parent / "r.json"
    assert call(model, *PIPELINE, "--json", "--report", report) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(report.read_text())
    assert (model.parent / "m.compressed.onnx").exists()


@pytest.mark.parametrize(
    "flags", [("--json", "-o", "-"), ("--json", "--print-trtexec"), ("--print-trtexec", "-o", "-"), ("-q", "-v")]
)
def test_what_excludes_each_other(model: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert call(model, *flags) == 2
    assert "exclude each other (choose one)" in capsys.readouterr().err
    assert [path.name for path in model.parent.iterdir()] == ["m.onnx"]
