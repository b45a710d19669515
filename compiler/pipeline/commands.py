"""The command that repeats a run: as a shell takes it, and as a call from Python."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import PurePath
from typing import Any, cast

from .options import RunOptions, flag_of

PROGRAM = "onnx-compress"


def command_line(model: object, pipeline: str, options: RunOptions) -> str:
    """`onnx-compress net.onnx -p basis --data d.npz`: the options that differ from their defaults, but for those that
    only change what is shown. Relative paths stay as they were given; what has no spelling is `...`."""
    words = [word for name, value in _changed(options) for word in _words(name, value)]
    return shlex.join([PROGRAM, _text(model), "-p", pipeline, *words])


def python_call(model: object, pipeline: str, options: RunOptions) -> str:
    """`compress("net.onnx", "basis", data=...)`, likewise."""
    given = [f"{name}={_literal(value)}" for name, value in _changed(options)]
    return f"compress({', '.join([_literal(model), repr(pipeline), *given])})"


def _changed(options: RunOptions) -> Iterator[tuple[str, Any]]:
    for entry in fields(options):
        value = getattr(options, entry.name)
        plain = value is None or isinstance(value, str | int | float | tuple)
        if flag_of(entry).repeated and not (value is entry.default or (plain and value == entry.default)):
            yield entry.name, value


def _words(name: str, value: Any) -> Iterator[str]:
    flag = flag_of(RunOptions.__dataclass_fields__[name]).names[0]
    if isinstance(value, bool):
        yield flag
        return
    for each in cast("Sequence[Any]", value) if isinstance(value, tuple) else [value]:
        yield from (flag, _text(each))


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float | PurePath) else "..."


def _literal(value: object) -> str:
    if isinstance(value, PurePath):
        return repr(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_literal(entry) for entry in cast('Sequence[object]', value))}]"
    return repr(value) if value is None or isinstance(value, str | int | float) else "..."
