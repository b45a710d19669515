"""The help: headings, examples that can be typed, versions, completion."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import front
import pytest
from front import call
from onnx_compress.cli.app import PROGRAM, app
from onnx_compress.cli.help import EXAMPLES
from onnx_compress.compiler.pipeline.completion import completions
from typer.main import get_command


def commands(group: Any) -> Iterator[Any]:
    for command in group.commands.values():
        yield from commands(command) if hasattr(command, "commands") else [command]


def test_every_command_has_examples():
    assert {command.name for command in commands(get_command(app))} == set(EXAMPLES)


@pytest.mark.parametrize("typed", [typed for several in EXAMPLES.values() for _, typed in several])
def test_examples_can_be_typed(typed: str):
    assert not front.parsed(shlex.split(typed)).args


def test_help_has_headings_and_examples(capsys: pytest.CaptureFixture[str]):
    assert call("compress", "--help") == 0
    shown = capsys.readouterr().out
    headings = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[0] == "Arguments:" and headings[-1] == "Examples:" and "Data:" in headings
    assert all(len(line) <= 80 for line in shown.partition("Examples:")[0].splitlines())


def test_the_versions_of_what_it_stands_on(capsys: pytest.CaptureFixture[str]):
    assert call("--version") == 0
    shown = capsys.readouterr().out
    for package in ("onnx", "onnx-graphsurgeon", "numpy"):
        assert f"{package} {version(package)}" in shown
    assert "onnxruntime" in shown


@pytest.mark.parametrize(
    "typed, expected",
    [
        (["ben"], "bench"),
        (["m.onnx", "--targ"], "--target"),
        (["m.onnx", "--target", "xavier-d"], "xavier-dla"),
        (["m.onnx", "--target", "orin-"], "orin-10.3"),
        (["m.onnx", "--power-mode", "5"], "50W"),
        (["m.onnx", "-p", "prune,quan"], "prune,quantize"),
        (["bisect", "m.onnx", "--preprocess", "cif"], "cifar10"),
        (["m.onnx", "-p", "basis", ":", "ma"], "macs="),
        (["m.onnx", "-p", "basis", ":", "macs", "=", "0.5", ":", "align", "=", "ta"], "target"),
        (["m.onnx", "--pipeline", "=", "prune", ":", "criterion", "=", "g"], "gaussian"),
        (["m.onnx", "--target", "=", "xavier-d"], "xavier-dla"),
    ],
)
def test_completion(typed: list[str], expected: str):
    words = " ".join([PROGRAM, *typed])
    asked = {"_ONNX_COMPRESS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(typed))}
    run = subprocess.run(
        [sys.executable, "-c", "from onnx_compress.cli.app import main; main(['x'])"],
        env={**os.environ, **asked}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert expected in run.stdout.split() and not run.stderr


@pytest.mark.parametrize(
    "typed, expected",
    [
        ("bas", ["basis"]),
        ("prune,quanti", ["prune,quantize"]),
        ("basis:ma", ["basis:macs="]),
        ("basis:macs=0.5:ma", []),
        ("prune:au", ["prune:auto"]),
        ("prune:auto=", ["prune:auto=true", "prune:auto=false"]),
        (
            "basis:macs=0.5,prune:criterion=l",
            ["basis:macs=0.5,prune:criterion=l1", "basis:macs=0.5,prune:criterion=l2"],
        ),
        ("nothing:", []),
    ],
)
def test_completions_of_a_pipeline(typed: str, expected: list[str]):
    assert completions(typed) == expected


@pytest.mark.parametrize("typed, meant", [("evl", "eval"), ("chek", "check"), ("bisct", "bisect")])
def test_a_mistyped_command(typed: str, meant: str, capsys: pytest.CaptureFixture[str]):
    assert call(typed, "m.onnx") == 2
    assert (
        capsys.readouterr().err.strip()
        == f"error: {typed}: neither a command nor a file: did you mean '{meant}'? (see --help)"
    )


def test_a_file_that_is_named_nearly_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evl").write_bytes(b"")
    assert call("evl") == 1


@pytest.mark.parametrize("typed", [["-h"], ["compress", "-h"], ["eval", "-h"], ["train-env", "-h"]])
def test_short_help(typed: list[str], capsys: pytest.CaptureFixture[str]):
    assert call(*typed) == 0
    assert capsys.readouterr().out.startswith("Usage: onnx-compress")


def test_commands_are_summed_up_in_a_line(capsys: pytest.CaptureFixture[str]):
    call("--help")
    shown = capsys.readouterr().out
    assert "..." not in shown.partition("Commands:")[2].partition("\n\n")[0]
    assert "Exit codes:" in shown and "ONNX_COMPRESS_TRAIN_ENV" in shown


@pytest.mark.parametrize(
    "typed, command", [(["eval"], " eval"), (["--data", "x"], " compress"), (["x", "--nope"], " compress")]
)
def test_errors_name_the_help_of_the_command(typed: list[str], command: str, capsys: pytest.CaptureFixture[str]):
    assert call(*typed) == 2
    assert f"(see: onnx-compress{command} --help)" in capsys.readouterr().err
