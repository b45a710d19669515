"""`onnx-compress train-env`: what it prints and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from front import call
from onnx_compress.runtime.training.ort import environment


def test_create_show_and_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def fill(base: str, folder: Path, progress: object) -> None:
        python = environment._interpreter(folder)
        python.parent.mkdir(parents=True)
        python.touch()
        (folder / environment.MARK).write_bytes(environment.REQUIREMENTS.read_bytes())

    monkeypatch.setattr(environment, "_fill", fill)
    monkeypatch.setattr(environment, "_version", lambda name: (3, 11))
    place = tmp_path / "env"
    for command in ("create", "show", "remove", "remove"):
        assert call("train-env", command, "--folder", place) == 0
    shown = environment._interpreter(place)
    assert capsys.readouterr() == (f"ready: {place}\n{shown}\nremoved: {place}\nnot there: {place}\n", "")


def test_show_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert call("train-env", "show", "--folder", tmp_path / "env") == 1
    out, error = capsys.readouterr()
    assert out == "" and "train-env create" in error


def test_create_with_what_is_no_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert call("train-env", "create", "--folder", tmp_path / "env", "--python", tmp_path / "py") == 1
    assert "no Python from 3.8 to 3.12: none found" in capsys.readouterr().err
