"""The environment of the ort engine: which interpreter, whole or not at all, and what is said. Nothing is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.training.ort import environment
from onnx_compress.runtime.training.ort.environment import (
    MARK,
    REQUIREMENTS,
    create,
    find_interpreter,
    is_ready,
    remove,
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "env"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps that leave what they would, and tell their names."""
    done: list[str] = []

    def call(name: str, command: list[str]) -> None:
        done.append(name)
        if name == "venv":
            interpreter = environment._interpreter(Path(command[-1]))
            interpreter.parent.mkdir(parents=True)
            interpreter.touch()

    monkeypatch.setattr(environment, "_call", call)
    monkeypatch.setattr(environment, "_version", lambda name: (3, 11))
    return done


def test_it_is_made_once(place: Path, steps: list[str]):
    assert create(folder=place) == create(folder=place) == place
    assert steps == ["venv", "pip", "import"]
    assert find_interpreter(place).is_relative_to(place)
    assert [path.name for path in place.parent.iterdir()] == ["env"]


@pytest.mark.parametrize("step", ["venv", "pip", "import"])
def test_half_of_it_is_nothing(step: str, place: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch):
    good = environment._call

    def call(name: str, command: list[str]) -> None:
        if name == step:
            raise CompressError(f"{name} failed")
        good(name, command)

    monkeypatch.setattr(environment, "_call", call)
    with pytest.raises(CompressError, match=f"{step} failed"):
        create(folder=place)
    assert list(place.parent.iterdir()) == []


def test_one_of_another_version_is_replaced(place: Path, steps: list[str]):
    create(folder=place)
    (place / MARK).write_text("onnxruntime-training-cpu==1.18.0\n")
    assert not is_ready(place)
    with pytest.raises(CompressError, match="made by another version"):
        find_interpreter(place)
    create(folder=place)
    assert is_ready(place) and (place / MARK).read_bytes() == REQUIREMENTS.read_bytes()


def test_what_is_something_else_is_left_alone(place: Path, steps: list[str]):
    place.mkdir()
    (place / "thesis.txt").touch()
    for touch in (create, remove):
        with pytest.raises(CompressError, match="holds something else"):
            touch(folder=place)
    assert (place / "thesis.txt").exists() and steps == []


def test_it_can_be_removed(place: Path, steps: list[str]):
    create(folder=place)
    assert remove(place) and not place.exists() and not remove(place)


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environment.default_folder() == tmp_path / "onnx-compress" / "train-env"
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "mine"))
    with pytest.raises(CompressError, match=r"mine: no environment .* train-env create; or engine=torch"):
        find_interpreter()


def test_the_first_interpreter_that_fits(monkeypatch: pytest.MonkeyPatch):
    found = {"python3.12": "/usr/bin/python3.12", "python3.10": "/usr/bin/python3.10"}
    monkeypatch.setattr(environment.shutil, "which", found.get)
    versions = {sys.executable: (3, 14), "/usr/bin/python3.10": (3, 10)}
    assert environment.fitting_interpreter(ask=versions.get) == "/usr/bin/python3.10"


def test_no_interpreter_fits():
    with pytest.raises(CompressError) as caught:
        environment.fitting_interpreter(Path("py"), {"py": (3, 14)}.get)
    assert str(caught.value) == (
        "--python py: no Python from 3.8 to 3.12: py is 3.14 "
        "(install one, then: onnx-compress train-env create --python PATH; or engine=torch)"
    )


def test_a_name_that_leads_nowhere_has_no_version(tmp_path: Path):
    assert environment._version(str(tmp_path / "python")) is None
    assert environment._version(sys.executable) == sys.version_info[:2]


def test_a_step_that_fails_is_told_by_its_last_error():
    script = "print('ERROR: no matching distribution'); print('hint'); raise SystemExit(1)"
    with pytest.raises(CompressError, match="pip failed: ERROR: no matching distribution"):
        environment._call("pip", [sys.executable, "-c", script])
