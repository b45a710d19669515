"""The README says what is so: its figures are those that are stored, its pass and its commands run as they stand."""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import builders
import front
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def fill() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module("fill_readme")


def test_it_opens_with_the_two_commands():
    commands = re.findall(r"^    make (\w+)", README, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert commands == ["demo", "test"]
    assert all(f"\n{name}:" in makefile for name in commands)


def test_what_is_generated_of_it_is_as_it_would_be_now(fill: Any):
    assert fill.filled(README) == README, "python docs/fill_readme.py"
    for name, drawn in fill.PICTURES.items():
        assert drawn() == (ROOT / "docs" / name).read_text(encoding="utf-8"), "python docs/fill_readme.py"


def test_its_pass_runs_as_it_is_pasted(place: Path):
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (place / "pasted.py").write_text(code)
    network, written = "models/resnet20_cifar10.onnx", ("-o", "zeros.onnx", "-q")
    assert front.call(network, "--plugin", "pasted.py", "-p", "zero-small:share=0.2,quantize", *written) == 0


INSTALLS = ("make", "python3", ".", "pip")


def shown() -> list[list[str]]:
    """The words of each line that it has for the shell, without those that install."""
    code = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^    (\w[\w.-]* .*)", code, re.MULTILINE)
    known = (*INSTALLS, "onnx-compress", "python")
    return [words for words in map(shlex.split, lines) if words[0] in known and words[0] not in INSTALLS]


def test_its_commands_can_be_typed(place: Path):
    a_network_with_photos(place)
    steps = shown()
    assert len(steps) == 12
    for program, *words in steps:
        for written in place.glob("*.compressed.onnx") if "--against" not in words else ():
            written.unlink()
        if program == "onnx-compress":
            assert front.call(*words) == 0, words
        elif words != ["examples/from_python.py"]:  # which runs without arguments in test_api.py
            pytest.importorskip("torch")
            runpy.run_path(words[0])
    assert (place / "fast.html").stat().st_size > 50_000


def a_network_with_photos(place: Path) -> None:
    graph = """g (float[N,3,224,224] x) => (float[N,5] y) {
        t = Conv<strides=[8,8]>(x, w)
        p = GlobalAveragePool(t)
        f = Flatten(p)
        y = Gemm<transB=1>(f, v)
    }"""
    weights = {"w": builders.normal(8, 3, 8, 8), "v": builders.normal(5, 8)}
    front.write_model(place / "model.onnx", builders.proto(graph, **weights))
    for folder in (place / "photos", place / "others"):
        folder.mkdir()
        for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (32, 40, 50, 3), np.uint8)):
            Image.fromarray(pixels).save(folder / f"{index}.png")


COMMANDS = (
    *("compress", "list", "explain", "eval", "compare", "bench", "bisect", "frontier", "train-env create", "check"),
    "build",
    "report",
)


def test_the_flags_of_the_command_line_exist_and_are_all(capsys: pytest.CaptureFixture[str]):
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    usage = page[page.index("onnx-compress MODEL [-p") : page.index("- The default pipeline")]
    shown = ""
    for command in COMMANDS:
        front.call(*command.split(), "--help")
        shown += capsys.readouterr().out
    flags = set(re.findall(r"--[a-z-]+", shown))
    short = {"--pipeline", "--output", "--quiet", "--verbose", "--help", "--plugin"}
    assert set(re.findall(r"--[a-z-]+", usage)) | short == flags


def test_its_links_lead_to_files():
    places = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert len(places) > 20 and not [place for place in places if not (ROOT / place).is_file()]


def test_its_pictures_are_there_and_small():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / name).stat().st_size < 200_000 for name in pictures)
