"""Senseless and contradictory options of every command: one line, exit code 1 or 2, nothing written, nothing lost."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, get_args, get_origin

import builders
import front
import numpy as np
import onnx
import pytest
from front import call
from onnx_compress.cli.app import COMMANDS

USAGE: dict[str, str] = {
    "net.onnx -p basis -p quantize": "--pipeline: is given twice",
    "check net.onnx --target ort --target xavier": "--target: is given twice",
    "net.onnx -p ,": "a pass name is missing",
    "net.onnx -p basis,,quantize": "a pass name is missing",
    "net.onnx --power-mode 99W": "unknown power mode '99W'",
    "net.onnx --target ort --power-mode 30W": "the target 'ort' has no power modes",
    "net.onnx -p basis:latency=0.5:power=99W": "unknown power mode '99W'",
    "net.onnx --labels labels": "--labels: nothing to apply it to (give --data",
    "net.onnx --preprocess imagenet": "--preprocess: nothing to apply it to (give --data",
    "net.onnx --set nothing:basis.rank=3": "'nothing' matches no node",
    "net.onnx --set .*:basis.rank=nan": "rank=nan: expected more than 0",
    "net.onnx --seed -1": "'--seed'",
    "net.onnx --jobs -2": "'--jobs'",
    "net.onnx --cluster dask://": "expected dask://host:port",
    "net.onnx --memory nan": "no amount of memory",
    "net.onnx --data x.npz --memory 9MB": "9 MB are too little for this model (at least",
    "net.onnx --config deep.toml": "not TOML",
    "net.onnx --config negative.toml": "'--seed'",
    "net.onnx --dump-dir x.npz": "is a file (give the name of a folder)",
    "net.onnx --dump-dir x.npz/steps": "is a file (give the name of a folder)",
    "net.onnx -p basis:clock=measured:threads=1000": "threads on",
    "check net.onnx --shapes x:1x3x8x8": "--shapes: no shapes without an engine",
    "bench net.onnx --threads 1000": "--threads: 1000 threads on",
    "bench net.onnx --batch 1000000000000": "out of memory: input 'x' is 1000000000000 x 3 x 8 x 8",
    "bench net.onnx --runs 1000000000": "'--runs'",
    "frontier net.onnx --data x.npz --points 100000": "'--points'",
    "frontier net.onnx --data x.npz --low nan": "'--low'",
    "frontier net.onnx --data x.npz --low 0.9 --high 0.1": "0 < low <= high <= 1",
    "frontier net.onnx --data x.npz -o .": ".: is a folder",
    "bisect net.onnx --data x.npz --check agreement>=nan": "expected more than 0, at most 1",
    "bisect net.onnx --data x.npz --check agreement>=97": "expected more than 0, at most 1",
    "bisect net.onnx --data x.npz --check error<=-1": "expected at least 0",
    "bisect net.onnx --data x.npz --check agreement>=0.9 --folder x.npz": "is a file (give the name of a folder)",
    "compare net.onnx net.onnx --data x.npz --report deep.json": "too deeply nested",
    "compare net.onnx net.onnx --data x.npz --report list.json": "it maps no nodes",
    "report deep.json": "too deeply nested",
    ".": ".: is a folder",
    "net.onnx -o net.engine": "net.engine: what is written is an ONNX model (name it .onnx",
    "net.onnx --report run.pdf": "run.pdf: a report is a page or JSON (name it .html or .json)",
    "report .": ".: is a folder",
    "report pointer.json": "no JSON, but a pointer of Git LFS: fetch the file itself",
    "compare net.onnx net.onnx --data x.npz --report pointer.json": "a pointer of Git LFS",
    "build .": ".: is a folder",
    "build net.onnx --workspace 99999999999": "'--workspace'",
    f"net.onnx --include {'(' * 5000}": "is not a regular expression",
    f"net.onnx --include {'a' * 9000}": "matches no node",
    f"{'a' * 5000}.onnx": "File name too long",
    f"net.onnx -o {'a' * 300}.onnx": "File name too long",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    front.write_model(tmp_path / "net.onnx")
    np.savez(tmp_path / "x.npz", x=builders.normal(16, 3, 8, 8))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "pointer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "deep.toml").write_text(f"pipeline = {'[' * 100_000}")
    (tmp_path / "negative.toml").write_text("seed = -1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.parametrize("words", USAGE, ids=lambda words: words[:60])
def test_senseless_usage_is_refused_in_one_line(folder: Path, words: str, capsys: pytest.CaptureFixture[str]):
    before = content(folder)
    assert call(*words.split()) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and len(said) < 2100
    assert USAGE[words] in said
    assert not any(word in said for word in ("unexpected", "report it", "Traceback"))
    assert content(folder) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_every_number_on_the_command_line_has_a_least_value(name: str):
    for each in inspect.signature(COMMANDS[name], eval_str=True).parameters.values():
        kind, option = each.annotation, None
        if get_origin(kind) is Annotated:
            kind, option = get_args(kind)
        if {int, float} & {kind, *get_args(kind)}:
            assert getattr(option, "min", None) is not None, each.name


def test_a_number_that_is_given_in_python_is_checked_as_well(folder: Path):
    from onnx_compress import compress
    from onnx_compress.compiler.errors import UsageError

    for options in ({"seed": -1}, {"samples": 1.5}, {"jobs": 0}, {"memory": -5}):
        with pytest.raises(UsageError):
            compress("net.onnx", "cleanup", **options)


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
from onnx_compress import Pass, register
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.base import PassResult

@register
@dataclass(frozen=True)
class Wrong(Pass):
    name: ClassVar[str] = "wrong"
    kind: str = "division"
    def run(self, graph, ctx):
        if self.kind == "user":
            raise CompressError("too few samples", "wrong", "give more")
        if self.kind == "memory":
            raise MemoryError
        if self.kind == "graph":
            del graph.nodes[0]
            return PassResult(changed=True)
        return 1 / 0
"""


@pytest.mark.parametrize(
    ("kind", "words", "kept"),
    [
        ("division", ("ZeroDivisionError", "line 21", "fail-004-wrong reproduces it"), True),
        ("graph", ("a pass broke the graph: correct", "plugin.py", "fail-004-wrong reproduces it"), True),
        ("user", ("too few samples (give more)",), False),
        ("memory", ("ran out of memory",), False),
    ],
)
def test_only_faults_of_passes_are_kept_and_blamed(
    folder: Path, kind: str, words: tuple[str, ...], kept: bool, capsys: pytest.CaptureFixture[str]
):
    (folder / "plugin.py").write_text(PLUGIN)
    assert call("net.onnx", "--plugin", "plugin.py", "-p", f"wrong:kind={kind}") == 1
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert "report it" not in said
    assert [path.name for path in folder.glob("fail-*")] == ["fail-004-wrong"] * kept


def test_a_folder_that_cannot_hold_a_reproduction_is_left_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    (folder / "plugin.py").write_text(PLUGIN)
    monkeypatch.setattr("onnx_compress.compiler.pipeline.reproduction.save", full)
    assert call("net.onnx", "--plugin", "plugin.py", "-p", "wrong") == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not list(folder.glob("fail-*"))


EVIL = "evil\x1b[31m\x07\x9b[/bold]\u202e"


@pytest.mark.parametrize("options", [("-v",), ()])
def test_names_cannot_steer_the_terminal(
    folder: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    proto = front.classifier()
    proto.graph.node[0].name = EVIL
    onnx.save(proto, "evil.onnx")
    assert call("evil.onnx", "-p", "basis:rank=0.5,quantize", "--data", "x.npz", "--target", "ort", *options) == 0
    assert call("evil.onnx", "-p", "basis", "-o", "other.onnx", "--include", EVIL.replace("[", "_")) == 2
    shown = "".join(capsys.readouterr())
    assert not set("\x07\x9b\u202e") & set(shown)
    assert "evil\x1b" not in shown and "evil\\x1b" in shown


Shell = Callable[[str], "subprocess.CompletedProcess[str]"]
PROGRESS = re.compile(r"^.+: \d+ of \d+, [\d.]+ s.*\n", re.MULTILINE)
"""Which a busy machine makes more of."""


@pytest.fixture
def shell(folder: Path) -> Shell:
    """Runs a line of the shell in which `oc` is the program; what it says is without its progress."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        program = f'oc() {{ "{sys.executable}" -m onnx_compress "$@"; }}; set -o pipefail; {line}'
        done = subprocess.run(["bash", "-c", program], cwd=folder, capture_output=True, text=True, check=False)
        done.stderr = PROGRESS.sub("", done.stderr)
        return done

    return run


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the devices of Linux")
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("oc net.onnx -p cleanup | (exec 0<&-; sleep 3)", 0, ""),
        ("oc net.onnx -p cleanup -v --print-trtexec | true", 0, ""),
        ("oc net.onnx -p cleanup >&-", 0, ""),
        ("oc net.onnx -p cleanup >&- 2>&-", 0, ""),
        ("oc net.onnx -p cleanup -v 2>/dev/full", 0, ""),
        ("oc net.onnx -p cleanup >/dev/full", 1, "error: standard output: cannot be written: No space left on device"),
    ],
)
def test_a_model_is_there_whoever_reads_what_is_said(folder: Path, shell: Shell, line: str, code: int, said: str):
    done = shell(line)
    assert (done.returncode, done.stderr.partition(" (")[0].strip()) == (code, said)
    onnx.checker.check_model(onnx.load(folder / "net.compressed.onnx"))


def test_nothing_is_lost_on_a_full_disk(folder: Path, shell: Shell):
    (folder / "net.compressed.onnx").write_text("mine")
    for options in ("", "--report r.json"):
        done = shell(f"(ulimit -f 1; oc net.onnx -p cleanup --overwrite {options})")
        assert done.returncode == 1 and "File too large" in done.stderr and done.stderr.count("\n") == 1
    assert (folder / "net.compressed.onnx").read_text() == "mine"
    assert not (folder / "r.json").exists()
