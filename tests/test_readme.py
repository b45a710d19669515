"""The README says what is so: its pass is the example, its flags exist, its commands are those of the Makefile."""

from __future__ import annotations

import re
import runpy
import shlex
import textwrap
from pathlib import Path

import front
import pytest
from onnx_compress.runtime.preprocess import PRESETS, parse_preprocess

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_it_opens_with_the_two_commands():
    commands = re.findall(r"^    make (\w+)", README, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert commands == ["demo", "test"]
    assert all(f"\n{name}:" in makefile for name in commands)


def test_its_pass_is_the_example():
    block = README[README.index("    @register") : README.index("    onnx-compress model.onnx --plugin")]
    assert textwrap.dedent(block).strip() in Path(front.ZERO_SMALL).read_text()


def first_steps() -> list[list[str]]:
    """The commands of the section, without those that install."""
    section = README.partition("## First steps")[2].partition("\n## ")[0]
    lines = [shlex.split(line) for line in section.splitlines() if line.startswith("    ")]
    return [words for words in lines if words[0] in ("onnx-compress", "python")]


def test_its_first_steps_can_be_typed(place: Path):
    steps = first_steps()
    assert len(steps) == 6
    for program, *words in steps:
        if program == "onnx-compress":
            assert front.call(*words) == 0, words
        else:
            pytest.importorskip("torch")
            runpy.run_path(words[0])
    assert (place / "fast.html").stat().st_size > 50_000


COMMANDS = (
    *("compress", "list", "explain", "eval", "compare", "bench", "bisect", "frontier", "train-env create", "check"),
    "build",
    "report",
)


def test_its_flags_exist_and_are_all(capsys: pytest.CaptureFixture[str]):
    usage = README[README.index("    onnx-compress MODEL [-p") : README.index("- The default pipeline")]
    shown = ""
    for command in COMMANDS:
        front.call(*command.split(), "--help")
        shown += capsys.readouterr().out
    flags = set(re.findall(r"--[a-z-]+", shown))
    short = {"--pipeline", "--output", "--quiet", "--verbose", "--help", "--plugin"}
    assert set(re.findall(r"--[a-z-]+", usage)) | short == flags


def test_its_presets_are_those_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \|.*mean ([\d.,]+), std ([\d.,]+) \|$", README, re.MULTILINE)
    assert [name for name, *_ in rows] == ["imagenet", "cifar10"]
    for name, mean, std in rows:
        spelled = parse_preprocess(f"mean={mean}:std={std}")
        assert (spelled.mean, spelled.std) == (PRESETS[name].mean, PRESETS[name].std)
    assert (PRESETS["imagenet"].size, PRESETS["imagenet"].crop) == ((256, 256), (224, 224))


def test_its_pictures_are_there_and_small():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / name).stat().st_size < 200_000 for name in pictures)
