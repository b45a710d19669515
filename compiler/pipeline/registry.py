"""Pass names -> pass classes. Built-in passes are named by string, so the compiler imports none of them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from ..errors import UsageError, nearest
from .base import Pass
from .recipes import RECIPES

ENTRY_POINTS = "onnx_compress.passes"
BUILTIN = (
    "cleanup",
    "fold-batchnorm",
    "prune",
    "basis",
    "codebook",
    "filter-summary",
    "sbf",
    "sparse-lowrank",
    "finetune",
    "quantize",
    "legalize",
)

PACKAGE = __name__.rsplit(".", 3)[0]
_registered: dict[str, type[Pass]] = {}
P = TypeVar("P", bound=type[Pass])


def register(cls: P) -> P:
    """Class decorator: make a pass known under its `name`."""
    _registered[cls.name] = cls
    return cls


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
            register(point.load())
    if name not in _registered:
        raise UsageError(f"unknown pass '{name}'", "pipeline", nearest(name, [*names(), *RECIPES]))
    return _registered[name]


def load_plugin(source: str) -> None:
    """Import a Python file or module, whose passes register themselves."""
    if not source.endswith(".py"):
        try:
            importlib.import_module(source)
        except ImportError as error:
            raise UsageError(
                f"cannot import plug-in '{source}': {error}", "--plugin", "a .py file or a module"
            ) from error
        return
    if not Path(source).is_file():
        raise UsageError("no such plug-in file", source, "give the path of a Python file")
    try:
        load_file(Path(source))
    except Exception as error:
        raise UsageError(f"the plug-in fails on import: {error!r}", source, "correct the plug-in") from error


def load_file(path: Path) -> ModuleType:
    """Import a Python file as a module of its own; whatever the file raises comes through."""
    name = f"onnx_compress_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
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
