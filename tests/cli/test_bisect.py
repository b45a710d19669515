"""`onnx-compress bisect`: a sentence, or JSON, and a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from front import ZERO_SMALL, call, images, write_model


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    np.savez(tmp_path / "d.npz", images=images(16))
    model = write_model(tmp_path / "m.onnx")
    data = ["--data", tmp_path / "d.npz", "--preprocess", "unit", "--plugin", ZERO_SMALL, "--folder", tmp_path / "out"]
    return ["bisect", model, *data, "-p", "zero-small:share=0,zero-small:share=0.9"]


def test_the_culprit_is_said_and_written(
    arguments: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments, "--check", "error<=0.05") == 0
    shown = capsys.readouterr().out
    assert "note: no --preprocess given" not in shown
    assert "pass 5 'zero-small:share=0.9' breaks it at node" in shown and "1 of the 1 that it rewrites" in shown
    assert (tmp_path / "out" / "bisect-005-zero-small" / "node-after.onnx").is_file()
    assert call(*arguments, "--check", "test -z {}", "--json") == 1, "even the model itself is not good"
    assert "before any pass" in capsys.readouterr().err


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_was_assumed_is_said(
    arguments: list[object], form: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [each for each in arguments if each not in ("--preprocess", "unit")]
    assert call(*given, "--check", "error<=0.05", *form) == 0
    shown = capsys.readouterr().out
    notes = json.loads(shown)["notes"] if form else shown.splitlines()
    assert any("no --preprocess given" in note for note in notes)


def test_the_metric_of_the_run(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments, "--check", "metric<=0.1", "--metric", "error") == 0
    assert "breaks it at node" in capsys.readouterr().out
    assert call(*arguments, "--check", "metric<=0.1") == 2
    assert "agreement is good where metric>=" in capsys.readouterr().err


def test_json(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments, "--check", "error<=0.05", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["position"], found["number"], found["nodes"]) == (5, 1, 1) and Path(found["folder"]).is_dir()


def test_a_check_is_wanted(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments) == 2
    assert call(*arguments, "--check", "agreement>0.9") == 2
    assert "agreement>=" in capsys.readouterr().err
