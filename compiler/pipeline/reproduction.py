"""What repeats a failure, written to a folder: `fail-003-basis/`.

before.onnx     the model from before the pass
options.json    the pass, the pipeline, the options of the run, the error, the node, versions
command.txt     the command that was run, and one that runs the pass alone
traceback.txt
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import onnx_graphsurgeon as gs

from ..errors import CompressError
from ..files import writing
from ..graph.io import Model, save
from ..versions import BUILT_ON, installed
from .base import Pass
from .commands import command_line
from .context import Context
from .instruments import Failure, Instrument
from .options import DEFAULT_SAMPLES
from .registry import PACKAGE

PACKAGES = ("onnx-compress", *BUILT_ON, "torch")
FIRST = ("node", "conv", "layer")
"""Names of variables that hold the node a function is at."""


class Reproduction(Instrument):
    """Writes a folder for a pass that is wrong (`Failure.is_fault`), and names it in the failure.

    Args:
        parent: the folder that it goes to.
        command: the one that failed.
    """

    def __init__(self, parent: Path, command: str):
        self._parent, self._command = parent, command

    def failed(self, failure: Failure, model: Model, ctx: Context) -> None:
        if not failure.is_fault:
            return
        folder = self._parent / f"fail-{failure.position:03d}-{failure.entry.name}"
        if model.path is not None and model.path.resolve().is_relative_to(folder.resolve()):
            failure.folder = folder  # it has just been repeated
            return
        new = not folder.exists()
        try:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                save(model, folder / "before.onnx")
                self._write(folder, failure, ctx)
        except CompressError:  # a full disk, say: the failure itself is what has to be said
            if new:
                shutil.rmtree(folder, ignore_errors=True)
            return
        failure.folder = folder

    def _write(self, folder: Path, failure: Failure, ctx: Context) -> None:
        content = {
            "pass": str(failure.entry),
            "position": failure.position,
            "pipeline": [str(entry) for entry in failure.pipeline],
            **describe_run(ctx),
            "error": repr(failure.error),
            "node": failure.node,
            "versions": versions(),
        }
        (folder / "options.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        alone = pass_alone(folder / "before.onnx", failure.entry, ctx)
        text = f"# the command that failed\n{self._command}\n# the pass alone\n{alone}\n"
        (folder / "command.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
        trace = "".join(traceback.format_exception(failure.error))
        (folder / "traceback.txt").write_text(trace, encoding="utf-8", errors="backslashreplace")


def pass_alone(model: Path, entry: Pass, ctx: Context) -> str:
    """The command that runs one pass of the run on `model`."""
    given = [override.text for override in ctx.overrides if override.name == entry.name]
    changed = {"output": None, "dump_dir": None, "keep_going": False, "prepare": False, "legalize": False}
    samples = DEFAULT_SAMPLES if ctx.data is None else ctx.data.samples
    options = replace(ctx.options, overrides=tuple(given), samples=samples, **changed)
    return command_line(model, str(entry), options)


def describe_run(ctx: Context) -> dict[str, Any]:
    """The options, and the samples that they stand for, as plain values."""
    data = ctx.data
    return {"options": ctx.options.plain(), "data_sha256": None if data is None else data.digest}


def versions() -> dict[str, str]:
    """Of Python, the system, and the installed packages that matter."""
    return {"python": platform.python_version(), "system": platform.platform(), **installed(PACKAGES)}


def node_at(error: BaseException, origins: Mapping[str, str]) -> str | None:
    """The node that the innermost function of the traceback was at, by its name in the model that came in."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        node = _node_of(frame)
        if node is not None:
            return origins.get(node.name, node.name)
    return None


def author_at(failure: Failure) -> str | None:
    """The file of a plug-in's pass, with the line that raised where it is in there; None for a pass of the package."""
    cls = type(failure.entry)
    if cls.__module__.startswith(f"{PACKAGE}."):
        return None
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__
    lines = [line for frame, line in traceback.walk_tb(failure.error.__traceback__) if frame.f_code.co_filename == file]
    return f"{file}, line {lines[-1]}" if lines else file


def _node_of(frame: FrameType) -> gs.Node | None:
    """A node, or the node of a layer, in a variable; those with the usual names first."""
    found = frame.f_locals
    for value in [*(found[name] for name in FIRST if name in found), *found.values()]:
        node = value if isinstance(value, gs.Node) else getattr(value, "node", None)
        if isinstance(node, gs.Node) and node.name:
            return node
    return None
