"""The documentation builds strictly, its commands parse, its snippets run, and what is generated is complete."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import front
import pytest
from onnx_compress.compiler.lint import RULES
from onnx_compress.compiler.pipeline.recipes import RECIPES
from onnx_compress.compiler.pipeline.registry import BUILTIN, find, load_plugin
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.compiler.targets import TARGETS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
ON_DEVICE = "build"


def fenced(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def commands(page: str) -> Iterator[list[str]]:
    """The arguments of each `onnx-compress ...` that a page shows."""
    for block in fenced(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[:1] == ["onnx-compress"]:
                yield words[1:]


COMMANDS = [(page, words) for page in PAGES for words in commands(page)]


@pytest.fixture(scope="module")
def generator() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield pytest.importorskip("generator")


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_strictly_and_its_links_resolve(tmp_path: Path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html")}
    assert {f"{page}.html" for page in PAGES} | {f"passes/{name}.html" for name in BUILTIN} <= written
    assert "<!-- generated" not in "".join(path.read_text() for path in tmp_path.glob("*.html"))
    page = (tmp_path / "writing-a-pass.html").read_text()
    assert "ZeroSmall" in page and "DepthwiseSeparable" in page


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[" ".join([p, *w])[:60] for p, w in COMMANDS])
def test_commands_are_those_of_the_command_line(page: str, words: list[str]):
    load_plugin(front.ZERO_SMALL)
    load_plugin(front.DEPTHWISE_SEPARABLE)
    options = front.parsed(words).params
    assert options.get("target", "xavier") in TARGETS
    parse_pipeline(options.get("pipeline") or "quantize")


@pytest.mark.parametrize("page", ["tutorial", "writing-a-pass", "api"])
def test_snippets_run(page: str, place: Path):
    for code in fenced(page, "python"):
        exec(compile(code, page, "exec"), {})


def test_the_loader_of_the_page_about_data_is_one(place: Path):
    (code,) = fenced("data", "python")
    (place / "loader.py").write_text(code)
    network = "models/resnet20_cifar10.onnx"
    assert front.call("eval", network, "--against", network, "--data", "loader.py:batches") == 0


def figures(text: str) -> dict[str, float]:
    """Top-1 by model, and the share of the time that is left by the way it went, in percent."""
    judged = re.findall(r"(\S+\.onnx): top-1 ([\d.]+) %", text)
    timed = re.findall(r"latency, estimated \(MAXN\) +[\d.]+ ms +([\d.]+) ms +([\d.]+) %", text)
    return {name: float(value) for name, value in [*judged, *timed]}


@pytest.mark.slow
def test_the_tutorial_can_be_typed_and_shows_what_comes_out(place: Path, capsys: pytest.CaptureFixture[str]):
    for words in commands("tutorial"):
        if words[0] != ON_DEVICE:
            assert front.call(*words) == 0, words
    assert all((place / "out" / f"{name}.html").stat().st_size > 50_000 for name in ("report", "measured"))
    shutil.rmtree(place / "out")
    told, shown = (figures(text) for text in (PAGES["tutorial"], capsys.readouterr().out))
    assert len(told) == 6 and told.keys() <= shown.keys()
    assert all(shown[key] == pytest.approx(value, abs=0.6) for key, value in told.items())


def test_every_option_and_its_help_is_on_the_page_of_its_pass(generator: Any):
    pages = generator.pages()
    for name in BUILTIN:
        cls, text = find(name), pages[f"passes/{name}.md"]
        assert text.startswith(f"# {name}\n")
        rows = re.findall(r"^\| `([\w-]+)` \|", text.partition("## Options")[2], re.MULTILINE)
        assert rows == [entry.name.replace("_", "-") for entry in fields(cls)]


def test_every_rule_and_every_target_has_a_row(generator: Any):
    rows = re.findall(r"^\| `([\w-]+)` \| \S", generator.pages()["rules.md"], re.MULTILINE)
    assert rows == [rule.name for rule in RULES]
    assert re.findall(r"^\| `(\w[\w.-]+)` \|", generator.PARTS["targets"](), re.MULTILINE) == list(TARGETS)


def test_the_table_of_recipes_is_what_was_measured(generator: Any):
    from generator.recipes import measurements, shares

    table = generator.PARTS["measured-recipes"]()
    for network, lines in measurements().items():
        (row,) = [row for row in table.splitlines() if row.startswith(f"| {network} |")]
        for name, line in lines.items():
            half, int8 = (0.0, 0.0) if {"same_as", "ms_fp16"} & {*line} else shares(line, lines[""])
            assert name in {"", *RECIPES} and (not half or f"{half:.2f}, {int8:.2f}: {line['figure']:.1f}" in row)


def test_the_reference_has_every_public_name(generator: Any):
    import onnx_compress

    assert {*onnx_compress.__all__} <= set(re.findall(r"^### (\w+)$", generator.PARTS["api"](), re.MULTILINE))


def test_docstrings_become_markdown_that_shows_them_as_they_are(generator: Any):
    from generator.markdown import prose

    text = "W* and `a*b`, where\n1. x_1 < 2\n2. [y]\n\n    y = W* x\n\n- one\n- two"
    assert prose(text) == ("W\\* and `a*b`, where\n\n1. x\\_1 \\< 2\n2. \\[y\\]\n\n    y = W* x\n\n- one\n- two")


PRIVATE = re.compile(r"/work\b|/tmp\b|\.\./shared|\bissue \d|\bhelpers?\b|\b(this|a) session\b", re.IGNORECASE)
NUMBERED = re.compile(r"#\d+")


def test_pages_speak_of_the_project_only(generator: Any):
    for name, text in {**PAGES, **generator.pages(), "api": generator.PARTS["api"]()}.items():
        assert not PRIVATE.search(text), (name, PRIVATE.search(text))
    assert not any(NUMBERED.search(text) for text in PAGES.values())
