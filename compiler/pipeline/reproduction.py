"""What repeats a failure, written to a folder: `fail-003-basis/`.

before.onnx     the model from before the pass
options.json    the pass, the pipeline, the options of the run, the error, the node, versions
command.txt     the command that was run, and one that runs the pass alone
traceback.txt
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import onnx_graphsurgeon as gs

from ..errors import CompressError
from ..files import writing
from ..graph.io import Model, save
from ..versions import installed
from .context import Context
from .instruments import Failure, Instrument

PACKAGES = ("onnx-compress", "onnx", "onnxruntime", "onnxruntime-gpu", "onnx-graphsurgeon", "numpy", "scipy", "torch")
FIRST = ("node", "conv", "layer")
"""Names of variables that hold the node a function is at."""


class Reproduction(Instrument):
    """Writes a folder for a pass that raised, and names it in the failure.

    Args:
        parent: the folder that it goes to.
        options: of the run, as JSON can hold them.
    """

    def __init__(self, parent: Path, options: Mapping[str, Any] | None = None):
        self._parent, self._options = parent, dict(options or {})

    def failed(self, failure: Failure, model: Model, ctx: Context) -> None:
        folder = self._parent / f"fail-{failure.position:03d}-{failure.entry.name}"
        try:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                save(model, folder / "before.onnx")
                self._write(folder, failure, ctx)
        except CompressError:  # a full disk: the failure itself is what has to be said
            return
        failure.folder = folder

    def _write(self, folder: Path, failure: Failure, ctx: Context) -> None:
        options = {
            "pass": str(failure.entry),
            "position": failure.position,
            "pipeline": [str(entry) for entry in failure.pipeline],
            **run_options(ctx),
            **self._options,
            "error": repr(failure.error),
            "node": failure.node,
            "versions": versions(),
        }
        (folder / "options.json").write_text(json.dumps(options, indent=2) + "\n", encoding="utf-8")
        (folder / "command.txt").write_text(_commands(folder, failure, ctx), encoding="utf-8")
        trace = "".join(traceback.format_exception(failure.error))
        (folder / "traceback.txt").write_text(trace, encoding="utf-8")


def run_options(ctx: Context) -> dict[str, Any]:
    """What passes are told beside the graph, as plain values."""
    return {
        "target": ctx.target.name,
        "include": ctx.include,
        "exclude": ctx.exclude,
        "set": [entry.text for entry in ctx.overrides],
        "seed": ctx.seed,
        "data": getattr(ctx.data, "description", None),
        "data_sha256": getattr(ctx.data, "digest", None),
        "plugin_operators": sorted(ctx.plugin_operators),
    }


def versions() -> dict[str, str]:
    """Of Python, the system, and the installed packages that matter."""
    return {"python": platform.python_version(), "system": platform.platform(), **installed(PACKAGES)}


def node_at(error: Exception, origins: Mapping[str, str]) -> str | None:
    """The node that the innermost function of the traceback was at, by its name in the model that came in."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        node = _node_of(frame)
        if node is not None:
            return origins.get(node.name, node.name)
    return None


def _node_of(frame: FrameType) -> gs.Node | None:
    """A node, or the node of a layer, in a variable; those with the usual names first."""
    found = frame.f_locals
    for value in [*(found[name] for name in FIRST if name in found), *found.values()]:
        node = value if isinstance(value, gs.Node) else getattr(value, "node", None)
        if isinstance(node, gs.Node) and node.name:
            return node
    return None


def _commands(folder: Path, failure: Failure, ctx: Context) -> str:
    ran = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    parts = ["onnx-compress", str(folder / "before.onnx"), "-p", str(failure.entry), "--no-prepare", "--no-legalize"]
    parts += ["--target", ctx.target.name, "--seed", str(ctx.seed)]
    for option, value in (("--include", ctx.include), ("--exclude", ctx.exclude)):
        parts += [option, value] if value else []
    parts += [word for entry in ctx.overrides if entry.name == failure.entry.name for word in ("--set", entry.text)]
    data = getattr(ctx.data, "description", None)
    parts += ["--data", str(data)] if data else []
    return f"# the command that failed\n{ran}\n# the pass alone\n{shlex.join(parts)}\n"
