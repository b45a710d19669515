"""How a pass and its options are written in a pipeline; `compiler.pipeline.spec` reads it back."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

_BARE = re.compile(r"[^,:='\"\s\\]+")


def spell(name: str, options: Any) -> str:
    """`name:key=value...` with the fields of the dataclass `options` that differ from their defaults."""
    changed = [
        (field.name, value)
        for field in dataclasses.fields(options)
        if not _same(value := getattr(options, field.name), field.default)
    ]
    return ":".join([name, *(f"{key.replace('_', '-')}={_value(value)}" for key, value in changed)])


def number_in(text: str) -> int | float | None:
    """The number that `text` spells, or None."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _same(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        return text
    ambiguous = text.lower() in ("none", "true", "false") or number_in(text) is not None
    if _BARE.fullmatch(text) and not ambiguous:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
