"""Dataclasses as plain values that JSON can hold, and back."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """`value` with dataclasses as dicts, tuples and sets as lists, numpy's scalars as Python's."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(entry) for key, entry in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Set):
        return sorted(to_plain(entry) for entry in cast("Set[Any]", value))
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in cast("list[Any]", value)]
    return cast("Any", value).item() if isinstance(value, np.generic) else cast("Any", value)


def from_plain(kind: type[T], value: Any) -> T:
    """The `kind` that `to_plain` made `value` of; lists, tuples and sets hold one type of entry."""
    origin, members = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return cast("T", kind(**{name: from_plain(hints[name], entry) for name, entry in value.items()}))
    if origin in (list, tuple, frozenset):
        return cast("T", origin(from_plain(members[0], entry) for entry in value))
    return value
