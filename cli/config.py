"""`--config FILE.toml`, or `onnx-compress.toml` in the working folder: the flags' long names as keys; flags win."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any, cast

import typer

from ..compiler.errors import UsageError, nearest

FOUND = "onnx-compress.toml"
"""Read from the working folder where --config is not given."""
PRINTING = ("print-trtexec",)


def apply_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the values of the file the defaults of the command's other options.

    Raises:
        UsageError: no such file, not TOML, or a key that is no flag; the nearest flag is named.
    """
    if path is None and Path(FOUND).is_file():
        path = Path(FOUND)
    if path is None:
        return None
    flags = _flags(ctx)
    values = _read(path)
    for key, value in values.items():
        if key not in flags:
            raise UsageError(f"unknown key '{key}'", str(path), nearest(key, flags))
        if isinstance(value, dict) or (isinstance(value, list) and not flags[key].multiple):
            raise UsageError(f"'{key}' takes one value, found {value}", str(path), f"write {key} = ...")
        if value == "":
            raise UsageError(f"'{key}' is empty", str(path), "give a value, or leave the key out")
    ctx.default_map = {flags[key].name: _value(flags[key], value) for key, value in values.items()}
    return path


def as_toml(ctx: typer.Context) -> str:
    """The options that are in force, from flags, file and defaults: `--config` reads them back."""
    values = {name: ctx.params.get(entry.name) for name, entry in _flags(ctx).items() if name not in PRINTING}
    return "".join(
        f"{name} = {_toml(value)}\n" for name, value in sorted(values.items()) if value not in (None, [], ())
    )


def _toml(value: object) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(entry) for entry in cast('list[object]', value))}]"
    return json.dumps(str(value), ensure_ascii=False)


def _flags(ctx: typer.Context) -> dict[str, Any]:
    """Long name without dashes -> parameter."""
    parameters = cast("list[Any]", ctx.command.params)
    named = {option[2:]: entry for entry in parameters for option in entry.opts if option.startswith("--")}
    return {name: entry for name, entry in named.items() if name not in ("config", "help", "print-config")}


def _value(parameter: Any, value: object) -> object:
    if parameter.multiple and isinstance(value, str):
        return [value]
    return value


def _read(path: Path) -> dict[str, Any]:
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        return toml.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", str(path), "--config takes a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not TOML: {error}", str(path), "write lines of key = value") from error
