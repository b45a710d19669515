"""The call that repeats a run that was started from Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, cast

NEVER = ("report", "progress", "command", "overwrite")


def spelled_call(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """`compress("net.onnx", "basis", data=...)`: positional arguments first, then what is not the default.

    Arrays, models, functions and whatever else has no short spelling become `...`.
    """
    words: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        value = given[name]
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            words.append(_spelled(value))
        elif name not in NEVER and not _same(value, parameter.default):
            words.append(f"{name}={_spelled(value)}")
    return f"{function.__name__}({', '.join(words)})"


def _same(value: object, default: object) -> bool:
    return value is default or (isinstance(value, str | int | float | list | tuple) and value == default)


def _spelled(value: object) -> str:
    if isinstance(value, PurePath):
        return repr(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(_spelled(entry) for entry in cast('Sequence[object]', value))}]"
    return repr(value) if value is None or isinstance(value, str | int | float) else "..."
