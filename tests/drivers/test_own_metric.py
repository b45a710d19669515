"""Runs judged by a function of the user: it is read, it decides what is resumed, and its errors end the run."""

from __future__ import annotations

from pathlib import Path

import front
import pytest
from onnx_compress import RunOptions
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.drivers.compress import identity
from onnx_compress.drivers.setup import set_up

FALLING = "values = [3.0, 2.0, {}]\ndef left(predict): return values.pop(0)\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    front.write_model(Path("m.onnx"))
    Path("own.py").write_text(FALLING.format("1.0"))
    return tmp_path


def test_a_run_is_not_resumed_with_a_function_that_has_changed() -> None:
    def key() -> list[object]:
        setup = set_up("m.onnx", "basis", RunOptions(metric="own.py:left"), silent, lambda *_: [])
        return identity(setup.source, setup.ctx)

    first = key()
    assert key() == first
    Path("own.py").write_text(FALLING.format("1.5"))
    assert key() != first


def test_its_file_is_not_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("own.py").read_text()
    assert front.call("m.onnx", "--metric", "own.py:left", "-o", "own.py", "--overwrite") == 2
    assert "would write over the file of --metric" in capsys.readouterr().err
    assert Path("own.py").read_text() == before


@pytest.mark.parametrize("last", ["1 / 0", "'many'", "float('nan')", "exit()"])
def test_where_it_fails_in_the_end_nothing_is_written(last: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"values = [3.0, 2.0]\ndef left(predict): return values.pop(0) if values else {last}\n"
    Path("own.py").write_text(text)
    assert front.call("m.onnx", "-p", "basis:rank=2,basis:rank=1", "--metric", "own.py:left", "-o", "o.onnx") in (1, 2)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and "own.py:left: the metric " in line
    assert not Path("o.onnx").exists() and not list(Path().glob("fail-*"))


def test_the_table_shows_its_name_as_it_is_and_the_value_before(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.py").rename("my_own.py")
    assert front.call("m.onnx", "-p", "basis:rank=2", "--metric", "my_own.py:left", "-o", "o.onnx") == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "my_own.py:left 3 2 on samples of the metric's own" in shown
    assert any(line.endswith("my_own.py:left 2") for line in shown)
