"""The command line as a user meets it: what it writes, what it prints, its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import builders
import front
import numpy as np
import onnx
import pytest
from front import call
from onnx_compress.compiler.report import SCHEMA


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return front.write_model(tmp_path / "net.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "d.npz", images=front.images(16), labels=np.arange(16) % front.CLASSES)
    return tmp_path / "d.npz"


def test_a_model_alone_is_compressed_beside_itself(model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(model, "-p", "cleanup") == 0
    written = model.with_name("net.compressed.onnx")
    onnx.checker.check_model(onnx.load(written))
    shown = capsys.readouterr()
    assert "MACs (Conv)" in shown.out and "without data" in shown.out and shown.err == ""
    assert f"trtexec --onnx={written}" in shown.out


def test_options_may_come_first(model: Path, tmp_path: Path):
    assert call("-p", "cleanup", "-o", tmp_path / "out.onnx", "-q", model) == 0
    assert (tmp_path / "out.onnx").is_file()


def test_quiet_prints_nothing(model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(model, "-p", "cleanup", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_verbose_prints_a_line_per_layer(model: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ("-p", "zero-small:share=0.5", "--plugin", front.ZERO_SMALL, "--exclude", "Conv", "-v")
    assert call(model, *arguments) == 0
    assert "zero-small: Conv_0 skipped: excluded by --exclude Conv" in capsys.readouterr().out


def test_the_command_can_be_piped_to_a_shell(model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(model, "-p", "cleanup", "--print-trtexec") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("trtexec ") and str(model.with_name("net.compressed.onnx")) in line


def test_nothing_is_overwritten_unasked(model: Path, capsys: pytest.CaptureFixture[str]):
    output = model.with_name("net.compressed.onnx")
    output.write_text("mine")
    assert call(model, "-p", "cleanup") == 2
    assert output.read_text() == "mine" and "--overwrite replaces it" in capsys.readouterr().err
    assert call(model, "-p", "cleanup", "--overwrite") == 0
    onnx.load(output)


def test_the_same_warning_is_given_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = "g (float[N,3,8,8] x) => (float[N,4,4,4] y) { a = Conv(x, w) b = Conv(a, v) y = Conv(b, v) }"
    weights = {"w": builders.normal(4, 3, 3, 3), "v": builders.normal(4, 4, 2, 2)}
    path = front.write_model(tmp_path / "net.onnx", builders.proto(text, **weights))
    assert call(path, "-p", "quantize", "--report", tmp_path / "r.html") == 0
    shown = capsys.readouterr().out
    assert shown.count("its weight is quantized") == 1 and "2 more places" in shown
    assert f"wrote {tmp_path / 'r.html'}" in shown.splitlines()


def test_the_report_says_what_was_done(model: Path, data: Path, tmp_path: Path):
    arguments = ("-p", "zero-small:share=0.5", "--plugin", front.ZERO_SMALL, "--data", data, "--samples", 10)
    assert call(model, *arguments, "--preprocess", "unit", "--report", tmp_path / "r.json") == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["schema"] == SCHEMA and report["pipeline"] == "zero-small:share=0.5"
    assert report["before"]["macs"] == report["after"]["macs"] == 64 * 16 * 27
    assert report["data"]["samples"] == 10 == report["quality"]["samples"]
    assert 0 <= report["quality"]["top1_after"] <= 1
    assert report["after"]["bytes"] == (tmp_path / "net.compressed.onnx").stat().st_size
    (last,) = [entry for entry in report["passes"] if entry["name"] == "zero-small"]
    assert last["decisions"][0]["action"] == "rewritten"
    assert last["decisions"][0]["figures"]["zeros"] == pytest.approx(0.5, abs=0.01)
    assert last["figures"]["relative_error"] > 0


def test_dumps_after_each_pass(model: Path, tmp_path: Path):
    assert call(model, "-p", "cleanup", "--no-prepare", "--no-legalize", "--dump-dir", tmp_path / "dumps") == 0
    assert [path.name for path in (tmp_path / "dumps").glob("*.onnx")] == ["001-cleanup.onnx"]


@pytest.mark.parametrize("pipeline", ["cleanup", "basis:macs=0.5", "quantize", "basis:rank=0.5,quantize"])
def test_same_seed_same_bytes(model: Path, data: Path, tmp_path: Path, pipeline: str):
    for name in ("a.onnx", "b.onnx"):
        assert call(model, "-p", pipeline, "--data", data, "-o", tmp_path / name, "-q") == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_config_file_gives_defaults_and_flags_win(model: Path, tmp_path: Path):
    text = f"""
    pipeline = "zero-small:share=0.5"
    plugin = '{front.ZERO_SMALL}'
    output = '{tmp_path / "a.onnx"}'
    report = '{tmp_path / "r.json"}'
    seed = 3
    no-prepare = true
    no-legalize = true
    """
    (tmp_path / "c.toml").write_text(text)
    assert call(model, "--config", tmp_path / "c.toml", "--seed", 4, "-q") == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["seed"] == 4 and [entry["spec"] for entry in report["passes"]] == ["zero-small:share=0.5"]
    assert (tmp_path / "a.onnx").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pipelin = 'basis'", "unknown key 'pipelin' (did you mean 'pipeline'?"),
        ("data = ['a', 'b']", "'data' takes one value"),
        ("data = ", "not TOML"),
        ("samples = 'many'", "--samples"),
        ("samples = 0", "--samples"),
    ],
)
def test_bad_config(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str):
    (tmp_path / "c.toml").write_text(text)
    assert call(model, "--config", tmp_path / "c.toml") == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and words in line and line.count("\n") == 1


def test_list(capsys: pytest.CaptureFixture[str]):
    assert call("list", "--json", "--plugin", front.ZERO_SMALL) == 0
    listed = {entry["name"]: entry["summary"] for entry in json.loads(capsys.readouterr().out)}
    assert listed["zero-small"] == "Set the smallest weights of every Conv to zero."
    assert all(listed[name] for name in ("cleanup", "fold-batchnorm", "basis", "quantize"))
    assert call("list") == 0
    assert "fold-batchnorm" in capsys.readouterr().out


def test_explain(capsys: pytest.CaptureFixture[str]):
    assert call("explain", "zero-small", "--plugin", front.ZERO_SMALL) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "A pass of your own" in shown
    assert "share number in [0, 1) 0.1 this share of the weights of every Conv becomes zero" in shown


@pytest.mark.parametrize("name", ["cleanup", "fold-batchnorm", "basis", "quantize"])
def test_every_pass_explains_itself(name: str, capsys: pytest.CaptureFixture[str]):
    assert call("explain", name) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_no_arguments_shows_help(capsys: pytest.CaptureFixture[str]):
    assert call() == 2
    assert "Usage" in capsys.readouterr().out
    assert call("--help") == 0
    assert call("--version") == 0


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from onnx_compress.cli import main; main(['compress', '--help']);"
        "sys.exit(bool({'numpy', 'onnx', 'onnxruntime', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


FIRST_STAGE = """
import os, sys
from contextlib import nullcontext
from onnx_compress.cli import console, main
def first(stage, total):
    os._exit(10 + bool({'numpy', 'onnx', 'onnxruntime', 'scipy'} & set(sys.modules)))
console.progress_bars = lambda *options, **named: nullcontext(first)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "typed", ["", "--dry-run", "eval", "bench", "compare m.onnx --data d", "bisect --check x", "frontier --data d"]
)
def test_progress_is_there_before_what_takes_long_to_import(typed: str):
    command = [sys.executable, "-c", FIRST_STAGE, *typed.split(), "m.onnx"]
    assert subprocess.run(command, check=False).returncode == 10


def test_a_failing_run_shows_a_traceback_when_verbose(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert call(tmp_path / "none.onnx", "-v") == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and "Traceback" in shown
