"""Names that are no text, and terminals with few letters: whatever is printed or written survives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import front
import numpy as np
import pytest
from onnx_compress.compiler.report.loading import load_report
from PIL import Image

ODD = os.fsdecode(b"n\xff\xe9t")
"""A name that is no UTF-8."""
LOCALES = {
    "C": {"LC_ALL": "C"},
    "C without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII": {"PYTHONIOENCODING": "ascii"},
    "UTF-8": {"PYTHONIOENCODING": "utf-8"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Model, archive, images and plug-in under odd names, in the working folder."""
    try:
        (tmp_path / ODD).mkdir()
    except OSError:
        pytest.skip("the file system takes text only")
    monkeypatch.chdir(tmp_path)
    front.write_model(tmp_path / f"{ODD}.onnx")
    np.savez(tmp_path / f"{ODD}.npz", images=front.images(4), labels=np.zeros(4, int))
    Path(f"{ODD}.py").write_text(Path(front.ZERO_SMALL).read_text())
    Image.fromarray(front.images(1)[0]).save(Path(ODD) / f"{ODD}.png")
    return tmp_path


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "onnx_compress", *words]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=False)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_letter_is_printed_somehow(folder: Path, locale: str):
    for words in (
        (f"{ODD}.onnx", "-p", "cleanup", "-v", "-o", f"{locale}.onnx", "--report", f"{ODD}.html", "--overwrite"),
        ("check", f"{ODD}.onnx"),
        ("eval", f"{ODD}.onnx", "--data", f"{ODD}.npz"),
    ):
        done = run(*words, **LOCALES[locale])
        assert done.returncode == 0 and b"Error" not in done.stderr, done.stderr
    done = run(f"{ODD}.onnx", "-p", "cleanup", "-o", f"{ODD}{locale}.onnx", "--print-trtexec", **LOCALES[locale])
    assert os.fsencode(f"{ODD}{locale}.onnx") in done.stdout, "a shell can run it"
    done = run("nowhere\u20ac.onnx", **LOCALES[locale])
    assert done.returncode == 1 and b"no such file" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        (f"{ODD}.onnx", "-p", "cleanup", "--print-trtexec"),
        (f"{ODD}.onnx", "--print-config"),
        (f"{ODD}.onnx", "-p", "zero-small", "--plugin", f"{ODD}.py", "--data", ODD, "--dump-dir", f"{ODD}.steps"),
        ("compare", f"{ODD}.onnx", f"{ODD}.onnx", "--data", ODD),
        ("compare", f"{ODD}.onnx", f"{ODD}.onnx", "--data", ODD, "--json"),
        ("bench", f"{ODD}.onnx", "--runs", "2"),
        ("check", f"{ODD}.onnx", "--json"),
        ("explain", "zero-small", "--plugin", f"{ODD}.py"),
    ],
)
def test_every_command_takes_names_that_are_no_text(folder: Path, words: tuple[str, ...]):
    assert front.call(*words) == 0


def test_reports_keep_the_name(folder: Path):
    compress = (f"{ODD}.onnx", "-p", "cleanup", "--data", f"{ODD}.npz", "-q")
    assert front.call(*compress, "--report", "r.json") == 0
    assert load_report(Path("r.json"))["model"] == f"{ODD}.onnx"
    assert json.loads(Path("r.json").read_text(encoding="utf-8"))["output"] == f"{ODD}.compressed.onnx"
    assert front.call("report", "r.json") == 0
    assert Path("r.html").read_text(encoding="utf-8")


def test_the_folder_of_a_failure_keeps_the_name(folder: Path):
    fails = Path(front.ZERO_SMALL).read_text() + "\n\ndef fail(*_):\n    1 / 0\n\n\nZeroSmall.run = fail\n"
    Path(f"{ODD}.py").write_text(fails)
    assert front.call(f"{ODD}.onnx", "-p", "zero-small", "--plugin", f"{ODD}.py") == 1
    assert os.fsencode(ODD) in Path("fail-004-zero-small/command.txt").read_bytes()


def test_a_config_that_was_printed_is_read_again(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]):
    assert front.call(f"{ODD}.onnx", "-p", "cleanup", "-o", f"{ODD}2.onnx", "-q", "--print-config") == 0
    Path("run.toml").write_bytes(capfdbinary.readouterr().out)
    assert front.call(f"{ODD}.onnx", "--config", "run.toml") == 0
    assert Path(f"{ODD}2.onnx").is_file()
