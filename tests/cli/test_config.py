"""`onnx-compress.toml`, `--print-config`, recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from front import ZERO_SMALL, call, write_model
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.pipeline.recipes import RECIPES
from onnx_compress.compiler.pipeline.registry import names
from onnx_compress.compiler.pipeline.spec import format_pipeline, parse_pipeline


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_model(tmp_path / "net.onnx")


def test_the_file_of_the_working_folder_is_read(model: Path) -> None:
    Path("onnx-compress.toml").write_text('pipeline = "cleanup"\nseed = 7\nreport = "r.json"\nquiet = true\n')
    assert call(model, "--seed", 8) == 0
    report = json.loads(Path("r.json").read_text())
    assert (report["pipeline"], report["seed"]) == ("cleanup", 8)


def test_another_file_takes_its_place(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("onnx-compress.toml").write_text("seed = 7\n")
    Path("c.toml").write_text("samples = 5\n")
    assert call(model, "--config", "c.toml", "--print-config") == 0
    shown = capsys.readouterr().out
    assert "samples = 5\n" in shown and "seed = 0\n" in shown


def test_its_unknown_keys_are_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("onnx-compress.toml").write_text("keep_going = true\n")
    assert call(model) == 2
    assert "unknown key 'keep_going' (did you mean 'keep-going'?" in capsys.readouterr().err


def test_what_is_printed_can_be_read_back(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--plugin", ZERO_SMALL, "--set", 'a\\."b":basis.rank=2', "--keep-going", "--exclude", "ü'")
    assert call(model, *arguments, "--print-config") == 0
    shown = capsys.readouterr().out
    assert "keep-going = true\n" in shown and "output" not in shown
    Path("onnx-compress.toml").write_text(shown, encoding="utf-8")
    assert call(model, "--print-config") == 0
    assert capsys.readouterr().out == shown
    assert not Path("net.compressed.onnx").exists()


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_stand_for_their_passes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = RECIPES[name].pipeline
    assert format_pipeline(parse_pipeline(f"cleanup,{name}")) == f"cleanup,{format_pipeline(parse_pipeline(pipeline))}"
    assert name not in names()
    assert call("explain", name) == 0
    assert f"-p {name} stands for -p {pipeline}" in capsys.readouterr().out


def test_recipes_take_no_options_and_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="the recipe 'small' takes no options"):
        parse_pipeline("small:macs=0.3")
    with pytest.raises(UsageError, match="did you mean 'balanced'"):
        parse_pipeline("balancd")
    assert call("list") == 0
    assert "xavier-int8" in capsys.readouterr().out


def test_a_recipe_runs(model: Path) -> None:
    assert call(model, "-p", "safe", "--report", "r.json", "-q") == 0
    assert json.loads(Path("r.json").read_text())["pipeline"] == "quantize"
