"""The help: headings, examples that can be typed, versions, completion."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import front
import pytest
from front import call
from onnx_compress.cli.app import PROGRAM, app
from onnx_compress.cli.help import EXAMPLES
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
        (["m.onnx", "-p", "prune,quan"], "prune,quantize"),
        (["bisect", "m.onnx", "--preprocess", "cif"], "cifar10"),
    ],
)
def test_completion(typed: list[str], expected: str):
    words = shlex.join([PROGRAM, *typed])
    environment = {"_ONNX_COMPRESS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(typed))}
    run = subprocess.run(
        [sys.executable, "-c", "from onnx_compress.cli.app import main; main(['x'])"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert expected in run.stdout.split()
