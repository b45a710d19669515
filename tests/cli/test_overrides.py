"""`--set`, `--include` and `--exclude` in a run; heads stay in float unless asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnx
import pytest
from front import call, images

NETWORK = """g (float[N,3,8,8] x) => (float[N,2] v, int64[N,2] i) {
    [stem] t = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(t)
    [body] u = Conv<pads=[1,1,1,1]>(r, w2)
    s = Relu(u)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    [head] y = Gemm<transB=1>(f, w3)
    v, i = TopK(y, k)
}"""


@pytest.fixture
def command(tmp_path: Path) -> list[object]:
    weights = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (5, 16)}
    arrays: dict[str, Any] = {name: builders.normal(*shape) for name, shape in weights.items()}
    onnx.save(builders.proto(NETWORK, **arrays, k=np.array([2])), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", images=images(32))
    return [tmp_path / "m.onnx", "--data", tmp_path / "d.npz", "--preprocess", "unit", "-q", "--overwrite"]


def decisions(command: list[object], *arguments: object) -> dict[tuple[str, str], dict[str, Any]]:
    report = Path(str(command[0])).with_suffix(".json")
    assert call(*command, *arguments, "--report", report) == 0
    passes = json.loads(report.read_text())["passes"]
    return {(entry["name"], each["origin"]): each for entry in passes for each in entry["decisions"]}


def test_a_rank_for_one_conv_and_a_budget_for_the_others(command: list[object]) -> None:
    found = decisions(command, "-p", "basis:macs=0.6", "--set", "^body$:basis.rank=3")
    assert found["basis", "body"]["figures"]["size"] == 3
    other = decisions(command, "-p", "basis:rank=0.25", "--set", "^body$:basis.skip=true")
    assert other["basis", "body"]["reason"] == "left alone by --set for basis"


def test_heads_stay_in_float_unless_asked_for(command: list[object]) -> None:
    found = decisions(command, "-p", "quantize", "--set", "body:quantize.weights=nearest")
    assert found["quantize", "head"]["action"] == "skipped" and "TopK" in found["quantize", "head"]["reason"]
    assert found["quantize", "stem"]["action"] == found["quantize", "body"]["action"] == "quantized"
    carried = decisions(command, "-p", "quantize:heads=true")
    assert carried["quantize", "head"]["action"] == "quantized"
    errors = [each["quantize", "body"]["figures"]["weight_error"] for each in (found, carried)]
    assert errors[0] != errors[1], "feedback and rounding to the nearest differ"


def test_mixed_precision_by_skipping_one_pass(command: list[object]) -> None:
    found = decisions(command, "-p", "quantize", "--set", "body:quantize.skip=true")
    assert found["quantize", "body"]["action"] == "skipped" and found["quantize", "stem"]["action"] == "quantized"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--include", "bodies"), "--include: 'bodies' matches no node (nearest: body"),
        (("--exclude", "layer9"), "--exclude: 'layer9' matches no node"),
        (("--set", "layer9:basis.rank=4"), "--set: 'layer9' matches no node"),
        (("--set", "body:sbf.rank=4"), "no pass 'sbf' in the pipeline"),
        (
            ("--set", "body:quantize.weights=nearest", "--target", "xavier-dla", "-p", "quantize"),
            "a calibration cache has ranges of tensors",
        ),
    ],
)
def test_wrong_usage(
    command: list[object], arguments: tuple[object, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command, *arguments) == 2
    assert words in capsys.readouterr().err
