"""No file that a run reads is written by it, and none is written twice: refused before any work."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import builders
import front
import numpy as np
import onnx
import pytest
from onnx_compress import UsageError, compress
from onnx_compress.compiler.files import is_same_file
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a model, one with external data, data of every kind, a plug-in, a report."""
    monkeypatch.chdir(tmp_path)
    front.write_model(Path("net.onnx"))
    onnx.save(front.classifier(), "big.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    np.savez("d.npz", images=front.images(4))
    np.save("d.npy", front.images(4))
    Path("loader.py").write_text("import numpy\ndef f():\n    yield numpy.zeros((4, 3, 8, 8), numpy.float32)\n")
    Path("plugin.py").write_text(Path(front.ZERO_SMALL).read_text())
    Path("run.toml").write_text('include = "."\n')
    for name in ("photos/a", "photos/more/b"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(front.images(1)[0]).save(f"{name}.png")
    Path("dump").mkdir()
    Path("dump/003-basis.onnx").write_bytes(Path("net.onnx").read_bytes())
    Path("dump/003-basis.json").write_text('{"mine": 1}')
    Path("bisect-001-basis").mkdir()
    Path("bisect-001-basis/before.onnx").write_bytes(Path("net.onnx").read_bytes())
    os.symlink("net.onnx", "link.onnx")
    os.link("net.onnx", "hard.onnx")
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "words",
    [
        "net.onnx -o z.onnx --report z.onnx",
        "net.onnx -o z.onnx --report ./dump/../z.onnx",
        "net.onnx -o z.onnx --report Z.onnx",
        "net.onnx --report net.onnx",
        "net.onnx --report link.onnx",
        "net.onnx --report hard.onnx",
        "link.onnx --report net.onnx",
        "net.onnx --report net.compressed.onnx",
        "net.onnx --report net.compressed.calib",
        "net.onnx --report net.compressed.onnx.data",
        "net.onnx -o z.calib",
        "big.onnx --report w.bin",
        "big.onnx -o w.bin",
        "big.onnx -o big.onnx --report w.bin",
        "net.onnx --data d.npz -o d.npz",
        "net.onnx --data d.npz#images --report d.npz",
        "net.onnx --data d.npy --report d.npy",
        "net.onnx --data loader.py:f --report loader.py",
        "net.onnx --data photos --report photos/a.png",
        "net.onnx --data photos -o photos/more/b.png",
        "net.onnx --data photos -o photos/new.png",
        "net.onnx --plugin plugin.py --report plugin.py",
        "net.onnx --config run.toml --report run.toml",
        "net.onnx --sensitivity s.json --report s.json",
        "net.onnx -p basis:sensitivity-file=s.json --report s.json",
        "net.onnx -p finetune:teacher=big.onnx -o big.onnx",
        "dump/003-basis.onnx --dump-dir dump -o z.onnx",
        "net.onnx --dump-dir dump -o dump/004-quantize.onnx",
        "net.onnx --dump-dir dump --report dump/003-basis.json",
        "frontier net.onnx --data d.npz -o f.csv",
        "frontier net.onnx --data d.npz -o f.svg",
        "frontier net.onnx --data d.npz -o net.onnx",
        "frontier net.onnx --data d.npy --eval-data d.npz -o d.npz",
        "bisect bisect-001-basis/before.onnx --check agreement>=1 --data d.npz",
        "report run.json -o run.json",
        "report run.html",
        "report run.json --frontier f.json -o f.json",
        "build net.onnx -o net.onnx",
        "build big.onnx -o w.bin",
        "build net.onnx --profile net.engine",
        "build net.onnx --profile p.json --report p.json",
        "build net.onnx --timing-cache net.onnx",
        "build net.onnx --calib d.npz -o d.npz",
    ],
)
def test_no_input_is_an_output(folder: Path, words: str, capsys: pytest.CaptureFixture[str]):
    before = contents(folder)
    overwrite = [] if words.startswith("bisect") else ["--overwrite"]
    assert front.call(*shlex.split(words), *overwrite) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and ("would write over" in said or "name one file" in said), said
    assert contents(folder) == before


def test_the_model_is_replaced_where_that_is_asked_for(folder: Path):
    for model in ("net.onnx", "big.onnx"):
        assert front.call(model, "-p", "cleanup", "-o", model, "-q") == 2
        assert front.call(model, "-p", "cleanup", "-o", model, "--overwrite", "-q") == 0
        onnx.checker.check_model(model)


def test_a_sidecar_that_is_there_is_noticed_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch):
    Path("z.calib").write_text("of another model")
    monkeypatch.setattr("onnx_compress.compiler.pipeline.manager.PassManager.run", lambda *_: pytest.fail("it ran"))
    asked = ("net.onnx", "--data", "d.npz", "--target", "xavier-dla", "-p", "quantize:form=cache", "-o", "z.onnx")
    assert front.call(*asked) == 2
    assert Path("z.calib").read_text() == "of another model"


def test_steps_of_a_dump_are_removed_and_nothing_else(folder: Path):
    assert front.call("net.onnx", "-p", "cleanup", "--dump-dir", "dump", "-q") == 0
    assert json.loads(Path("dump/003-basis.json").read_text()) == {"mine": 1}
    assert Path("dump/003-basis.onnx").exists()


def test_a_device_or_a_pipe_is_no_output(folder: Path):
    os.mkfifo("pipe")
    assert front.call("net.onnx", "-p", "cleanup", "--report", "pipe", "--overwrite") == 2
    assert Path("pipe").is_fifo()


def test_saving_spares_the_external_data(folder: Path):
    with pytest.raises(UsageError, match="external data"):
        compress("big.onnx", "cleanup").save("w.bin", overwrite=True)


@pytest.mark.parametrize(
    "words",
    [
        "net.onnx -o ''",
        "net.onnx --report ''",
        "net.onnx --report=",
        "net.onnx --data ''",
        "net.onnx --dump-dir ''",
        "net.onnx --plugin ''",
        "net.onnx --labels ''",
        "''",
        "eval net.onnx --data ''",
    ],
)
def test_an_empty_value_is_refused(folder: Path, words: str, capsys: pytest.CaptureFixture[str]):
    before = contents(folder)
    assert front.call(*shlex.split(words)) == 2
    assert "a value is empty" in capsys.readouterr().err
    assert contents(folder) == before


def test_an_empty_value_is_refused_from_python_and_in_a_config_file(folder: Path):
    with pytest.raises(UsageError, match="data is empty"):
        compress(builders.proto("g (float[N] x) => (float[N] y) { y = Relu(x) }"), "cleanup", data="")
    Path("run.toml").write_text('output = ""\n')
    assert front.call("net.onnx", "--config", "run.toml") == 2


def test_one_file_by_two_names(folder: Path):
    assert is_same_file(Path("link.onnx"), Path("net.onnx"))
    assert is_same_file(Path("new"), Path("dump/../New"))
    assert not is_same_file(Path("net.onnx"), Path("d.npz"))
    assert not is_same_file(Path("net.onnx"), Path("new"))


def test_a_failure_that_is_repeated_leaves_the_folder_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]):
    """The command in the folder of a failure runs the model in it."""
    fails = Path(front.ZERO_SMALL).read_text()
    Path("plugin.py").write_text(fails + "\n\ndef fail(*_):\n    1 / 0\n\n\nZeroSmall.run = fail\n")
    Path("fail-001-zero-small").mkdir()
    model = Path("fail-001-zero-small/before.onnx")
    model.write_bytes(Path("big.onnx").read_bytes())
    Path("fail-001-zero-small/w.bin").write_bytes(Path("w.bin").read_bytes())
    before = contents(folder)
    assert front.call(model, "-p", "zero-small", "--no-prepare", "--plugin", "plugin.py") == 1
    assert "fail-001-zero-small reproduces it" in capsys.readouterr().err
    assert contents(folder) == before
