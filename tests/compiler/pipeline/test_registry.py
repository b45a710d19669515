"""Where passes come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.pipeline import registry
from onnx_compress.compiler.pipeline.spec import parse_pipeline

PLUGIN = '''
from dataclasses import dataclass
from typing import ClassVar
from onnx_compress import Pass, PassResult, register

@register
@dataclass(frozen=True)
class DropIdentity(Pass):
    """Remove Identity nodes."""
    name: ClassVar[str] = "drop-identity"
    def run(self, graph, ctx):
        return PassResult()
'''


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Built-in passes stay: their modules are imported once."""
    for name in registry.BUILTIN:
        registry.find(name)
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)


@pytest.mark.parametrize("name", registry.BUILTIN)
def test_built_in_passes_carry_their_names(name: str):
    cls = registry.find(name)
    assert cls.name == name
    assert cls.__module__ == f"onnx_compress.passes.{name.replace('-', '_')}"
    assert cls.__doc__


def test_a_plug_in_file(tmp_path: Path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    registry.load_plugin(str(tmp_path / "mine.py"))
    assert "drop-identity" in registry.names()
    assert str(parse_pipeline("drop-identity")[0]) == "drop-identity"


def test_a_plug_in_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "plugin_module.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    registry.load_plugin("plugin_module")
    assert registry.find("drop-identity").name == "drop-identity"
    sys.modules.pop("plugin_module")


@dataclass
class Point:
    name: str

    def load(self) -> Any:
        scope: dict[str, Any] = {"__name__": __name__}
        exec(PLUGIN, scope)
        return scope["DropIdentity"]


def test_an_entry_point(monkeypatch: pytest.MonkeyPatch):
    points = [Point("drop-identity")]
    monkeypatch.setattr(
        registry, "entry_points", lambda group, name=None: [p for p in points if name in (None, p.name)]
    )
    assert "drop-identity" in registry.names()
    assert registry.find("drop-identity").__name__ == "DropIdentity"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.py", "no such plug-in file"),
        ("os", "os: registers no pass"),
        ("no.such.module", "cannot import 'no.such.module'"),
    ],
)
def test_a_missing_plug_in(source: str, message: str):
    with pytest.raises(UsageError, match=message):
        registry.load_plugin(source)


def test_a_broken_plug_in(tmp_path: Path):
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(UsageError, match=r"fails on import in line 1 of bad.py: ZeroDivisionError"):
        registry.load_plugin(str(tmp_path / "bad.py"))


def test_an_unknown_pass_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'quantize'"):
        registry.find("quantise")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"drop-identity"', '"quantize"', "'quantize' is a built-in pass, which no plug-in replaces"),
        ('"drop-identity"', '"balanced"', "'balanced' is a recipe, which no plug-in replaces"),
        ('"drop-identity"', '"two words"', "'two words' cannot be the name of a pass"),
        ('"drop-identity"', '"a:b"', "'a:b' cannot be the name of a pass"),
        ('name: ClassVar[str] = "drop-identity"', "", "None cannot be the name of a pass"),
        ("DropIdentity(Pass)", "DropIdentity", "only a subclass of Pass"),
        ("@register\n", "", "registers no pass"),
        ("@register\n", "raise SystemExit(0)\n", r"in line 6 of mine.py: it ends the program, by sys.exit\(0\)"),
        ("@register\n", "class Odd(BaseException): pass\nraise Odd\n", r"in line 7 of mine.py: Odd\(\)"),
        ("@register\n", "import no_such_package\n", "in line 6 of mine.py: ModuleNotFoundError"),
        ("@register\n", "def :\n", r"in line 6 of mine.py: SyntaxError"),
    ],
)
@pytest.mark.parametrize("as_module", [False, True])
def test_plug_ins_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: str, as_module: bool
):
    (tmp_path / "mine.py").write_text(PLUGIN.replace(old, new))
    monkeypatch.syspath_prepend(tmp_path)
    before = registry.find("quantize")
    try:
        with pytest.raises(UsageError, match=words):
            registry.load_plugin("mine" if as_module else str(tmp_path / "mine.py"))
    finally:
        sys.modules.pop("mine", None)
    assert registry.find("quantize") is before


def test_two_plug_ins_of_one_run_have_different_passes(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(PLUGIN)
    sources = [str(tmp_path / name / "mine.py") for name in ("one", "two")]
    with pytest.raises(UsageError, match=r"one/mine\.py has a pass 'drop-identity', too"):
        registry.load_plugins(sources)
    registry.load_plugins([sources[0], sources[0]])


def test_plug_ins_with_one_file_name_are_two_modules(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(PLUGIN.replace("drop-identity", name))
        registry.load_plugin(str(tmp_path / name / "mine.py"))
    files = {name: sys.modules[registry.find(name).__module__].__file__ for name in ("one", "two")}
    assert files == {name: str(tmp_path / name / "mine.py") for name in ("one", "two")}


def test_a_file_that_was_changed_within_a_second_is_read_anew(tmp_path: Path) -> None:
    """Bytecode that was stored of it counts by second and size."""
    source = tmp_path / "own.py"
    for value in (1, 2):
        source.write_text(f"VALUE = {value}\n")
        os.utime(source, (1e9, 1e9))
        assert value == registry.load_file(source).VALUE
    assert list(tmp_path.iterdir()) == [source], "nothing is stored beside it"
