"""NVIDIA's own ONNX parser and builder, without a GPU: TensorRT for RTX.

It reads models as TensorRT 10 does and builds an engine for a GPU that need not be there. What it refuses, no TensorRT
takes; what it takes, an older TensorRT may still refuse (INT8 weights, newer operators).

The library runs in a process of its own: whatever it does to itself, or however long it takes, becomes a finding. That
costs about 0.1 s per model.

Source: NVIDIA TensorRT for RTX, "CPU-only ahead-of-time engines".
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compiler.errors import CompressError, UsageError
from ...compiler.graph.io import parse
from ...compiler.graph.shapes import nominal_shapes
from ...compiler.processes import CAPTURED, run
from .messages import clean, is_echo, matters, node_line, once
from .rtx_worker import MODULES

WORKER = Path(__file__).with_name("rtx_worker.py")
INSTALL = "pip install 'onnx-compress[trt-rtx]'"
LIMIT = 600.0
Events = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class EngineCheck:
    """What TensorRT for RTX makes of a model.

    Attributes:
        parsed: its ONNX parser takes every node.
        built: it makes an engine of it; False where that was not asked for.
        messages: why not, a line each; warnings begin with `warning: `.
        engine_bytes: size of the engine, None where there is none.
        seconds: wall time, the start of the process included.
        version: of the library, empty if it died before it could say.
    """

    parsed: bool
    built: bool
    messages: list[str]
    engine_bytes: int | None
    seconds: float
    version: str


def available() -> bool:
    """Whether the package is installed."""
    return any(importlib.util.find_spec(name) is not None for name in MODULES)


def check_engine(
    path: Path, build: bool = True, *, shapes: Mapping[str, Sequence[int]] | None = None, limit: float = LIMIT
) -> EngineCheck:
    """Parse the ONNX file `path`, external data included, and build an engine of it.

    Args:
        build: False stops after the parser.
        shapes: sizes of inputs with open dimensions; default: nominal ones, see `compiler.graph.shapes`.
        limit: seconds after which the library is stopped.

    Raises:
        CompressError: the file or the package is not there.
    """
    if not path.is_file():
        raise CompressError("no such file", str(path), "give the path of an .onnx file")
    if not available():
        raise CompressError("TensorRT for RTX is not installed", "checking a model with its parser", INSTALL)
    nominal = _nominal(path)
    for name in shapes or {}:
        if nominal and name not in nominal:
            raise UsageError(f"the model has no input '{name}'", "--shapes", f"its inputs: {', '.join(nominal)}")
    chosen = {**nominal, **{name: list(dims) for name, dims in (shapes or {}).items()}}
    request = {"model": str(path.absolute()), "build": build, "shapes": chosen}
    started = time.perf_counter()
    events, ending = _run(json.dumps(request), limit)
    return _finding(events, ending, build, time.perf_counter() - started)


def _nominal(path: Path) -> dict[str, list[int]]:
    """Sizes of the inputs; none where the file is no model, which is for the parser to say."""
    try:
        inputs = parse(path).graph.input
    except CompressError:
        return {}
    dims = {
        info.name: [dim.dim_value or dim.dim_param or None for dim in info.type.tensor_type.shape.dim]
        for info in inputs
    }
    return {name: list(shape) for name, shape in nominal_shapes(dims).items()}


def _run(request: str, limit: float) -> tuple[Events, str]:
    """The worker's events, and how it ended where it did not end well."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        command = [sys.executable, str(WORKER), str(path)]
        try:
            done = run(command, input=request, limit=limit, text=True, errors="replace", env=environment, **CAPTURED)
            ending = _ending(done.returncode, done.stderr)
        except subprocess.TimeoutExpired:
            ending = f"was stopped after {limit:g} s"
        return _events(path), ending


def _events(path: Path) -> Events:
    """A crash may cut the last line short."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _ending(code: int, output: str) -> str:
    if code == 0:
        return ""
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    last = output.strip().splitlines()[-1:] or [f"exit code {code}"]
    return f"failed: {last[0]}"


def _finding(events: Events, ending: str, build: bool, seconds: float) -> EngineCheck:
    found: dict[str, Any] = {key: value for event in events for key, value in event.items()}
    if "missing" in found:
        raise CompressError(f"TensorRT for RTX cannot be loaded: {found['missing']}", "", INSTALL)
    parsed, built = bool(found.get("parsed")), bool(found.get("built"))
    messages = _messages(events, found.get("errors", []))
    if ending:
        messages.insert(0, f"TensorRT for RTX {ending}, at the stage '{found.get('stage', 'start')}'")
    if not messages and not (parsed and (built or not build)):
        messages.append("the model has no output" if not parsed else "no engine, and no reason given")
    return EngineCheck(parsed, built, messages, found.get("bytes"), seconds, found.get("version", ""))


def _messages(events: Events, errors: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [node_line(entry["index"], entry["node"], entry["op"], entry["text"]) for entry in errors]
    logged = [event["log"] for event in events if "log" in event]
    if not errors:
        found += [clean(text) for severity, text in logged if severity != "WARNING" and not is_echo(text)]
    found += [f"warning: {clean(text)}" for severity, text in logged if severity == "WARNING" and matters(text)]
    return once(found)
