"""A run that is killed goes on where it stopped; a pass that fails says what repeats it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from front import call, images, write_model

SHIPPED = Path(__file__).parents[2] / "models" / "resnet20_cifar10.onnx"
STOP = """
import os, signal
from dataclasses import dataclass
from typing import ClassVar
from onnx_compress import Pass, PassResult, register

@register
@dataclass(frozen=True)
class Stop(Pass):
    name: ClassVar[str] = "stop"
    per_node: ClassVar[frozenset[str]] = frozenset(["skip"])

    def run(self, graph, ctx):
        if "STOP" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        for node in graph.nodes:
            if "FAIL" in os.environ:
                raise ValueError("as asked")
        return PassResult()
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "stop.py").write_text(STOP)
    np.savez(tmp_path / "d.npz", images=images(48))
    model = write_model(tmp_path / "m.onnx")
    options = ["--data", str(tmp_path / "d.npz"), "--preprocess", "unit", "--plugin", str(tmp_path / "stop.py"), "-q"]
    return [str(model), "-p", "basis:macs=0.7,stop,quantize", *options]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path, command: list[str]) -> None:
    whole, resumed, dumps, report = (tmp_path / name for name in ("a.onnx", "b.onnx", "dumps", "r.json"))
    assert call(*command, "-o", whole) == 0
    again = [*command, "-o", str(resumed), "--dump-dir", str(dumps), "--report", str(report)]
    killed = subprocess.run([sys.executable, "-m", "onnx_compress", *again], env={**os.environ, "STOP": "1"})
    assert killed.returncode == -signal.SIGKILL and not resumed.exists()
    left = sorted(path.name for path in dumps.glob("*.onnx"))
    assert left == ["001-cleanup.onnx", "002-fold-batchnorm.onnx", "003-cleanup.onnx", "004-basis.onnx"]
    assert call(*again) == 0
    assert resumed.read_bytes() == whole.read_bytes()
    found = json.loads(report.read_text())
    assert [entry["position"] for entry in found["passes"]] == [*range(1, 8)]
    assert any(entry["action"] == "rewritten" for entry in found["passes"][3]["decisions"])
    assert f"passes 1 to 4 were taken from {dumps}" in found["passes"][3]["notes"][-1]
    assert found["after"]["macs"] / found["before"]["macs"] <= 0.7


def test_a_failure_leaves_a_folder_and_keep_going_goes_on(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIL", "1")
    report = tmp_path / "r.json"
    assert call(*command) == 1
    line = capsys.readouterr().err
    assert "pass 5 'stop' failed at node" in line and "fail-005-stop reproduces it" in line
    assert not (tmp_path / "m.compressed.onnx").exists()
    assert (tmp_path / "fail-005-stop" / "before.onnx").is_file()
    assert call(*command, "--keep-going", "--report", report) == 0
    found = json.loads(report.read_text())
    passes = found["passes"]
    assert "was left out" in passes[4]["notes"][0] and passes[5]["changed"]
    assert found["notes"][0] == f"stop changed nothing: {passes[4]['notes'][0]}"


def test_what_repeats_a_failure_is_a_command_that_fails_alike(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all that the pass was told: plug-ins, samples and how they are read, operators, options of single nodes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIL", "1")
    np.savez("all.npz", train=images(48), other=images(48, seed=1), classes=np.zeros(48, int))
    command[command.index("--data") + 1] = "all.npz#train"
    told = ["--labels", "classes", "--samples", "40", "--plugin-op", "Mine", "--seed", "5", "--power-mode", "15W"]
    assert call(*command, *told, "--set", "Conv:basis.rank=2", "--set", "Conv:stop.skip=true") == 1
    first = capsys.readouterr().err
    folder = tmp_path / "fail-005-stop"
    lines = (folder / "command.txt").read_text().splitlines()
    whole, alone = shlex.split(lines[1]), shlex.split(lines[3])
    for words in (whole, alone):
        assert words[0] == "onnx-compress" and "all.npz#train" in words
        assert {"--plugin", "--preprocess", "--samples", "--labels", "--plugin-op", "--power-mode"} <= set(words)
    assert call(*whole[1:]) == 1
    assert capsys.readouterr().err == first
    assert call(*alone[1:]) == 1
    again = capsys.readouterr().err
    here = first.replace("pass 5", "pass 1").replace("fail-005", "fail-001")
    assert again == here.replace("'Conv_0'", "'Conv_0.vertical'"), "the node by its name in the model before the pass"
    written = json.loads((folder / "options.json").read_text())
    assert (written["options"]["data"], written["options"]["seed"]) == ("all.npz#train", 5)


def test_a_run_that_goes_on_knows_the_operators_of_the_passes_before(tmp_path: Path) -> None:
    steps, plugin = ["--dump-dir", tmp_path / "steps", "-q"], "sbf:form=plugin:macs=0.7"
    assert call(SHIPPED, "-p", plugin, "-o", tmp_path / "a.onnx", *steps) == 0
    assert call(SHIPPED, "-p", f"{plugin},quantize", "-o", tmp_path / "b.onnx", *steps) == 0
    assert call(SHIPPED, "-p", f"{plugin},quantize", "-o", tmp_path / "c.onnx", "-q") == 0
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()


def test_the_report_names_the_array_that_samples_came_from(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=images(20), night=images(20, seed=1))
    model, data = write_model(tmp_path / "m.onnx"), f"{tmp_path / 'd.npz'}#night"
    assert call(model, "-p", "cleanup", "--data", data, "--report", tmp_path / "r.json", "-q") == 0
    assert json.loads((tmp_path / "r.json").read_text())["data"]["source"] == data
