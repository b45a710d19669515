"""`onnx-compress bench` and `compare`: what is printed, and what --json holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from front import call, classifier, images, write_model


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    return write_model(tmp_path / "a.onnx"), write_model(tmp_path / "b.onnx", classifier(seed=5))


def test_models_are_timed_beside_each_other(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("bench", *models, "--batch", 2, "--runs", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["batch"], found["runs"], found["provider"]) == (2, 3, "cpu")
    first, second = found["models"]
    assert first["ratio"] == 1 and second["interval"][0] <= second["ratio"] <= second["interval"][1]
    assert call("bench", *models, "--runs", 2) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3 and [line.split()[-1] for line in shown[1:]] == [str(path) for path in models]


@pytest.mark.parametrize(("option", "value"), [("--provider", "npu"), ("--runs", 1), ("--batch", 0)])
def test_bench_refuses(models: tuple[Path, Path], option: str, value: object) -> None:
    assert call("bench", *models, option, value) == 2


def test_two_models_are_compared(models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "d.npz", images=images(6))
    data = ("--data", tmp_path / "d.npz")
    assert call("compare", *models, *data, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], [entry["tensor"] for entry in found["outputs"]]) == (6, ["y"])
    errors = [entry["error"] for entry in found["layers"]]
    assert errors == sorted(errors, reverse=True) and {entry["tensor"] for entry in found["layers"]} == set("trpf")
    assert call("compare", *models, *data, "--top", 1) == 0
    shown = capsys.readouterr().out
    assert "output y: relative error" in shown and "and 3 more" in shown
    assert "the error starts in" in shown or "the error builds up" in shown
    assert call("compare", *models, *data, "--json", "--order", "network") == 0
    ordered = json.loads(capsys.readouterr().out)
    assert [entry["tensor"] for entry in ordered["layers"]] == list("trpf") and ordered["start"] == found["start"]
    assert call("compare", *models, *data, "--order", "network") == 0
    shown = capsys.readouterr().out
    assert "starts here" in shown and " more: --top" not in shown
    assert "note: no --preprocess given" in shown and any("no --preprocess" in note for note in found["notes"])


def test_a_report_has_to_be_one(models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.json").write_text("[]")
    assert call("compare", *models, "--data", "d.npz", "--report", tmp_path / "r.json") == 2
    assert "not a report" in capsys.readouterr().err


def test_models_that_do_not_differ(
    models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "d.npz", images=images(6))
    assert call("compare", models[0], models[0], "--data", tmp_path / "d.npz") == 0
    assert "the outputs do not differ" in capsys.readouterr().out
