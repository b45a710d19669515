"""Pass names -> pass classes. Built-in passes are named by string, so the compiler imports none of them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from ..errors import UsageError, nearest
from .base import Pass
from .recipes import RECIPES
from .user_code import user_code

ENTRY_POINTS = "onnx_compress.passes"
BUILTIN = (
    "cleanup",
    "fold-batchnorm",
    "fast",
    "depth",
    "prune",
    "basis",
    "codebook",
    "filter-summary",
    "sbf",
    "sparse-lowrank",
    "finetune",
    "collapse",
    "horizontal-fusion",
    "quantize",
    "legalize",
)

PACKAGE = __name__.rsplit(".", 3)[0]
_registered: dict[str, type[Pass]] = {}
_provided: dict[str, set[str]] = {}
"""By plug-in: the passes that it has registered."""
NAME = re.compile(r"""[^,:='"\s]+""")
CORRECT = "correct the plug-in"
REGISTERS = "a plug-in has dataclasses with @register; see docs/writing-a-pass.md"
P = TypeVar("P", bound=type[Pass])


def register(cls: P) -> P:
    """Class decorator: make a pass known under its `name`.

    Raises:
        UsageError: it is no pass, or its name is that of a built-in pass or of a recipe, or cannot be typed.
    """
    problem = _problem(cls)
    if problem is not None:
        raise UsageError(problem, f"class {getattr(cls, '__name__', cls)}", "give the pass a name of its own")
    _registered[cls.name] = cls
    return cls


def _problem(cls: type) -> str | None:
    if not (inspect.isclass(cls) and issubclass(cls, Pass)):
        return "only a subclass of Pass can be registered"
    name: object = getattr(cls, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"{name!r} cannot be the name of a pass"
    if _is_built_in(cls) or name not in (*BUILTIN, *RECIPES):
        return None
    return f"'{name}' is a {'built-in pass' if name in BUILTIN else 'recipe'}, which no plug-in replaces"


def _is_built_in(cls: type) -> bool:
    return cls.__module__.startswith(f"{PACKAGE}.passes.")


def names() -> list[str]:
    """Every known pass, built-in ones first."""
    plugins = [point.name for point in entry_points(group=ENTRY_POINTS)]
    return list(dict.fromkeys([*BUILTIN, *_registered, *plugins]))


def find(name: str) -> type[Pass]:
    """The pass class called `name`; `UsageError` naming the nearest match otherwise."""
    if name not in _registered and name in BUILTIN:
        importlib.import_module(f"{PACKAGE}.passes.{name.replace('-', '_')}")
    if name not in _registered:
        for point in entry_points(group=ENTRY_POINTS, name=name):
            with user_code(f"the pass '{name}' of an installed package fails on import", "pipeline", CORRECT):
                register(point.load())
    if name not in _registered:
        raise UsageError(f"unknown pass '{name}'", "pipeline", nearest(name, [*names(), *RECIPES]))
    return _registered[name]


def load_plugins(sources: Iterable[str]) -> None:
    """Import Python files and modules, whose passes register themselves.

    Raises:
        UsageError: one is not there, fails, or registers nothing; or two register passes of one name.
    """
    owners: dict[str, str] = {}
    for source in dict.fromkeys(sources):
        for name in sorted(load_plugin(source)):
            if name in owners:
                raise UsageError(f"{owners[name]} has a pass '{name}', too", source, "give one of them another name")
            owners[name] = source


def load_plugin(source: str) -> set[str]:
    """Import a Python file or module; the names of the passes that it registers."""
    before = dict(_registered)
    module = import_source(source, "the plug-in", "--plugin")
    new = {name for name, cls in _registered.items() if before.get(name) is not cls and not _is_built_in(cls)}
    own = {name for name, cls in _registered.items() if f"{cls.__module__}.".startswith(f"{module.__name__}.")}
    found = _provided[source] = new | own | (_provided.get(source, set()) & set(_registered))
    if not found:
        raise UsageError("registers no pass", source, REGISTERS)
    return found


def import_source(source: str, word: str, option: str) -> ModuleType:
    """The module that a Python file or a module's name stands for.

    Args:
        word: what it is called in errors; option: that names it.

    Raises:
        UsageError: it is not there, or fails on import, with the line that does.
    """
    is_file = source.endswith(".py")
    if is_file and not Path(source).is_file():
        raise UsageError(f"no such {word.removeprefix('the ')} file", source, "give the path of a Python file")
    with user_code(f"{word} fails on import", source, f"correct {word}"):
        try:
            return load_file(Path(source)) if is_file else importlib.import_module(source)
        except (ModuleNotFoundError, ValueError, TypeError) as error:
            root = getattr(error, "name", None) or ""
            if is_file or (root and not f"{source}.".startswith(f"{root}.")):
                raise
            what = f"cannot import '{source}': {error}"
            raise UsageError(what, option, "a .py file or a module") from error


def import_function(spec: str, word: str, option: str) -> Callable[..., Any]:
    """The function that `file.py:function` or `module:function` stands for; see `import_source`."""
    source, _, name = spec.rpartition(":")
    loaded = import_source(source, word, option)
    function = getattr(loaded, name, None)
    if not callable(function):
        known = [key for key, value in vars(loaded).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"'{source}' has no function '{name}'", option, nearest(name, known))
    return function


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles what the file holds now: stored bytecode counts as that of any file of its size and second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def load_file(path: Path) -> ModuleType:
    """Import a Python file as a module of its own; whatever the file raises comes through."""
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]
    name = f"onnx_compress_file_{path.stem}_{place}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_FreshLoader(name, os.path.abspath(path)))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
