"""Every command that README and the pages show is typed: here, page by page, or by the tests of a page of its own."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import builders
import front
import numpy as np
import onnx
import pytest
import stand_ins
from onnx_compress.runtime.tensorrt import power, program
from onnx_compress.runtime.tensorrt.power import PowerSettings
from PIL import Image

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TYPED_BY = {
    "tutorial": "test_docs.py: test_the_tutorial_can_be_typed_and_shows_what_comes_out",
    "detector": "test_tutorials.py: test_a_detector",
    "segmenter": "test_tutorials.py: test_a_segmenter",
    "tensorflow": "test_tutorials.py: test_from_tensorflow",
    "xavier": "test_tutorials.py: test_on_the_xavier",
    "README": "test_readme.py: test_its_commands_can_be_typed",
}
NOT_TYPED = {
    "pip install": "fetches packages",
    "onnx-compress train-env": "makes an environment of what it fetches: tests/cli/test_train_env.py",
}
"""By how a command begins: why no test types it as it stands."""
READS = ("check", "eval", "compare", "bisect", "explain")
"""They replace nothing."""
LONG = ("budgets", "finetuning")
"""Searches, and training with PyTorch."""
LARGE = ("targets",)
"""A Conv has to become faster there."""
PASSED = "&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec\n&&&& PASSED TensorRT.trtexec"


def commands(page: str) -> Iterator[list[str]]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from filter(None, map(shlex.split, block.replace("\\\n", " ").splitlines()))


PAGES = {path.stem for path in DOCS.glob("*.md") if any(commands(path.stem))}


def test_the_tests_of_pages_are_there():
    for test in TYPED_BY.values():
        file, _, name = test.partition(": ")
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert TYPED_BY.keys() - {"README"} <= PAGES


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_the_demo_is_made_of_commands():
    """It is not typed, as it fetches packages first."""
    recipe = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [shlex.split(line) for line in recipe.replace("\\\n", " ").splitlines()]
    typed = [words[1:] for words in lines if words[0].endswith("/onnx-compress")]
    assert len(typed) == 7 and not any(front.parsed(words).args for words in typed)


def network(side: str, filters: int) -> onnx.ModelProto:
    """Fifty classes, of which it is not sure."""
    graph = f"""g (float[N,3,{side},{side}] image) => (float[N,50] word) {{
        a = Conv<strides=[8,8]>(image, u)
        b = Relu(a)
        c = Conv<pads=[1,1,1,1]>(b, v)
        d = Relu(c)
        p = GlobalMaxPool(d)
        f = Flatten(p)
        word = Gemm<transB=1>(f, w)
    }}"""
    weights = {
        "u": builders.normal(filters, 3, 8, 8),
        "v": builders.normal(filters, filters, 3, 3),
        "w": builders.normal(50, filters),
    }
    proto = builders.proto(graph, **weights)
    for index, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{index}"
    return proto


@pytest.fixture
def stocked(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A page, in a folder that has what its commands read."""
    page = request.param
    proto = network("448", 256) if page in LARGE else network("side", 16)
    for name in ("model", "net", "from_pytorch"):
        front.write_model(place / f"{name}.onnx", proto)
    samples = builders.normal(64, 3, 32, 32) + builders.normal(64, 3, 1, 1, seed=1)
    for name in ("d", "test", "from_pytorch"):
        np.savez(place / f"{name}.npz", image=samples)
    (place / "photos").mkdir()
    for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (64, 40, 50, 3), np.uint8)):
        Image.fromarray(pixels).save(place / "photos" / f"{index}.png")
    if page in ("faq", "targets"):
        written = ("-o", "model.compressed.onnx", "--report", "report.json", "-q")
        assert front.call("model.onnx", "-p", "basis:rank=0.5", *written) == 0
    _user_code(page, place, samples)
    _trtexec(place, monkeypatch)
    return page


def _user_code(page: str, place: Path, samples: np.ndarray) -> None:
    """The files that a page shows, and what they read."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        (place / name).write_text(code)
    np.save(place / "images.npy", samples)
    np.save(place / "words.npy", np.arange(64) % 5)
    (place / "evaluate.sh").write_text("#!/bin/sh\ntest -f $1 && echo 50\n")
    (place / "evaluate.sh").chmod(0o755)


def _trtexec(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which all Convs take long."""
    names = [node.name for node in onnx.load(place / "model.onnx").graph.node if node.op_type == "Conv"]
    times = [{"name": name, "averageMs": 2.0, "medianMs": 2.0, "percentage": 30} for name in names]
    monkeypatch.setattr(program, "INSTALLED", Path("/nowhere/trtexec"))
    monkeypatch.setattr(power, "USUAL", PowerSettings(warm_up=0.1, seconds=0.1, idle=0.1))
    stand_ins.trtexec(place, monkeypatch, PASSED, profile=[{"count": 9}, *times], layer_info={"Layers": names})
    monkeypatch.setenv("PATH", f"{place / 'bin'}:/usr/bin:/bin")


def _page(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow if name in LONG else ())


@pytest.mark.parametrize("stocked", [*map(_page, sorted(PAGES - TYPED_BY.keys()))], indirect=True)
def test_commands_can_be_typed(stocked: str):
    for words in commands(stocked):
        if not any(shlex.join(words).startswith(start) for start in NOT_TYPED):
            assert words[0] == "onnx-compress", "only these can be typed here"
            overwrite = () if words[1] in READS else ("--overwrite",)
            assert front.call(*words[1:], *overwrite) == 0, words
