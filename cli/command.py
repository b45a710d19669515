"""The command that repeats a run: what was typed, with the values of a config file, as a shell takes it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, cast

import typer

LEFT_OUT = ("config", "report", "quiet", "verbose", "print_config", "print_trtexec", "overwrite")


def command_line(ctx: typer.Context, program: str = "onnx-compress") -> str:
    """Arguments first, then every option whose value is not its default, but for those that only change what is shown.

    A relative path is left as it was given.
    """
    parameters = cast("list[Any]", ctx.command.params)
    shown = [entry for entry in parameters if entry.name not in LEFT_OUT]
    ordered = sorted(shown, key=lambda entry: entry.param_type_name != "argument")
    return shlex.join([program, *(word for entry in ordered for word in _words(entry, ctx.params.get(entry.name)))])


def _words(parameter: Any, value: Any) -> Iterator[str]:
    if parameter.param_type_name == "argument":
        yield str(value)
        return
    if value is None or value == parameter.default or value in ((), []):
        return
    name = max(parameter.opts, key=len)
    if isinstance(value, bool):
        yield name
        return
    several = isinstance(value, list | tuple)
    for each in cast("list[Any]", value if several else [value]):
        yield from (name, str(each))
