"""`onnx-compress eval`: accuracy, the metric beside another model, the user's own metric, or what the outputs are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builders
import front
import numpy as np
import onnx
import pytest
from front import call

DETECTOR = """g (float[N,3,8,8] x) => (float[N,2,8,8] boxes, float[N,1,8,8] scores) {
    boxes = Conv<pads=[1,1,1,1]>(x, wb)
    scores = Conv<pads=[1,1,1,1]>(x, ws)
}"""
MAP = "g (float[N,3,8,8] x) => (float[N,6,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "d.npz", images=front.images(16), labels=np.arange(16) % front.CLASSES)
    return tmp_path / "d.npz"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return front.write_model(tmp_path / "m.onnx")


def detector(path: Path, factor: float = 1.0) -> Path:
    weights = {"wb": builders.normal(2, 3, 3, 3), "ws": factor * builders.normal(1, 3, 3, 3)}
    onnx.save(builders.proto(DETECTOR, **weights), path)
    return path


def figures(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert call("eval", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_with_labels(model: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    found = figures(capsys, model, "--data", data, "--preprocess", "unit")
    assert found["samples"] == 16 and 0 <= found["top1"] <= found["top5"] <= 1


def test_labels_beyond_the_classes(model: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    np.savez(data, images=front.images(16), labels=np.full(16, 9))
    assert call("eval", model, "--data", data) == 1
    assert "labels 0 to 6, found 9" in capsys.readouterr().err


def test_against_another(model: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    found = figures(capsys, model, "--data", f"{data}#images", "--against", model)
    assert found["agreement"] == found["value"] == 1.0 and found["output_error"] == 0.0 and "top1" not in found
    assert found["metric"] == "agreement" and 0 < found["deviation"] < 0.1
    assert call("eval", model, "--data", data, "--against", model) == 0
    assert "agreement 100.00 % ±" in capsys.readouterr().out


def test_labels_and_another(model: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    alone = figures(capsys, model, "--data", data)
    found = figures(capsys, model, "--data", data, "--against", model)
    assert found["against_top1"] == found["top1"] == alone["top1"] and found["top5"] == alone["top5"]


def test_a_detector_has_an_error_per_output(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    one, two = detector(tmp_path / "one.onnx"), detector(tmp_path / "two.onnx", 1.3)
    found = figures(capsys, two, "--data", f"{data}#images", "--against", one)
    assert found["agreement"] is None and found["metric"] == "error"
    assert found["by_output"]["boxes"] == 0.0 and 0.3 < found["by_output"]["scores"] < 0.5
    assert found["value"] == pytest.approx(found["by_output"]["scores"] / 2)
    assert call("eval", two, "--data", f"{data}#images", "--against", one) == 0
    shown = capsys.readouterr().out
    assert "error 0.21 ±" in shown and "  boxes: error 0\n" in shown and "  scores: error 0.42" in shown


def test_a_map_has_the_share_of_its_positions(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    onnx.save(builders.proto(MAP, w=builders.normal(6, 3, 3, 3)), tmp_path / "map.onnx")
    assert call("eval", tmp_path / "map.onnx", "--data", f"{data}#images", "--against", tmp_path / "map.onnx") == 0
    assert "pixels 100.00 %" in capsys.readouterr().out


def test_without_anything_to_judge_by(model: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    assert call("eval", model, "--data", f"{data}#images") == 0
    shown = capsys.readouterr().out
    assert "y: 7, " in shown and "classes are chosen" in shown and "--labels KEY, or --against OTHER.onnx" in shown
    found = figures(capsys, detector(tmp_path / "one.onnx"), "--data", data)
    assert found["outputs"]["boxes"]["shape"] == [2, 8, 8] and found["outputs"]["scores"]["deviation"] > 0
    assert any("the labels are not used" in note for note in found["notes"])


def test_the_users_own_metric(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "own.py").write_text(
        "import numpy as np\n\n"
        "def most(predict):\n    return float(predict({'x': np.ones((1, 3, 8, 8), np.float32)})['scores'].max())\n"
    )
    one, two = detector(tmp_path / "one.onnx"), detector(tmp_path / "two.onnx", 1.3)
    own = ("--metric", f"{tmp_path / 'own.py'}:most")
    alone, found = figures(capsys, one, *own), figures(capsys, two, "--against", one, *own)
    assert (alone["metric"], alone["samples"]) == ("own.py:most", None)
    assert found["original"] == alone["value"] and found["value"] == pytest.approx(1.3 * alone["value"], rel=1e-5)
    beside = figures(capsys, two, "--against", one, "--data", f"{data}#images", *own)
    assert beside["value"] == found["value"] and 0 < beside["output_error"] < 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "give --data, or a --metric of your own"), (("--metric", "beauty"), "no metric 'beauty'")],
)
def test_wrong_usage(model: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]):
    assert call("eval", model, *arguments) == 2
    line = capsys.readouterr().err
    assert words in line and line.count("\n") == 1
