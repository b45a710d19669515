"""The JSON schema of a report, written from its typed dictionaries, and the check of a value against them.

`schema.json` beside this file is `json_schema(Report)`.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from .fields import SCHEMA, Report

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NAMES: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
PLAIN: dict[Any, Any] = {int: int, float: (int, float), str: str, bool: bool, type(None): type(None)}


def json_schema() -> dict[str, Any]:
    """JSON schema, draft 2020-12. Keys it does not know are allowed: new ones may appear at any time."""
    described = _described(Report)
    described["properties"]["schema"] = {"const": SCHEMA}
    return {"$schema": DRAFT, "title": "report of onnx-compress", **described}


def problems(value: object, kind: Any = Report, path: str = "report") -> Iterator[str]:
    """Where `value` is not of the `kind`, a type or `type | None`: `report.passes[2].name: expected string`."""
    if kind is Any:
        return
    if is_typeddict(kind):
        yield from _of_record(value, kind, path)
    elif get_origin(kind) is list:
        yield from _of_list(value, get_args(kind)[0], path)
    elif get_origin(kind) is dict:
        yield from _of_dict(value, get_args(kind)[1], path)
    elif not _matches(value, kind):
        yield f"{path}: expected {' or '.join(_word(each) for each in _alternatives(kind))}"
    elif value is not None and len(_alternatives(kind)) > 1:
        yield from problems(value, _alternatives(kind)[0], path)


def _described(kind: Any) -> dict[str, Any]:
    if kind is Any:
        return {}
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        properties = {name: _described(each) for name, each in hints.items()}
        return {"type": "object", "required": _required(kind), "properties": properties}
    if get_origin(kind) is list:
        return {"type": "array", "items": _described(get_args(kind)[0])}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _described(get_args(kind)[1])}
    if kind in NAMES:
        return {"type": NAMES[kind]}
    return {"anyOf": [_described(each) for each in _alternatives(kind)]}


def _required(kind: Any) -> list[str]:
    return [name for name in get_type_hints(kind) if name in kind.__required_keys__]


def _alternatives(kind: Any) -> Sequence[Any]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _word(kind: Any) -> str:
    return NAMES.get(kind, "array" if get_origin(kind) is list else "object")


def _matches(value: object, kind: Any) -> bool:
    """A list or object is looked into later."""
    for each in _alternatives(kind):
        wanted = PLAIN.get(each, list if get_origin(each) is list else dict)
        if isinstance(value, wanted) and (not isinstance(value, bool) or each is bool):
            return True
    return False


def _of_record(value: object, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path}: expected object"
        return
    held = cast("Mapping[str, object]", value)
    for name, each in get_type_hints(kind).items():
        if name in held:
            yield from problems(held[name], each, f"{path}.{name}")
        elif name in kind.__required_keys__:
            yield f"{path}.{name}: missing"


def _of_list(value: object, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: expected array"
        return
    for index, entry in enumerate(cast("list[object]", value)):
        yield from problems(entry, kind, f"{path}[{index}]")


def _of_dict(value: object, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected object"
        return
    for name, entry in cast("dict[str, object]", value).items():
        yield from problems(entry, kind, f"{path}.{name}")
