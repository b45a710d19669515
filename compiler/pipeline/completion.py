"""What the text of a pipeline may become, typed so far: for the completion of shells.

bas                  basis                     passes and recipes
basis:ma             basis:macs=               options that are not given yet; flags without `=`
prune:criterion=l    prune:criterion=l1, ...   values that an option names, `none` and flags' own among them
"""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from ..errors import CompressError
from .recipes import RECIPES
from .registry import find, names
from .spec import option_types


def completions(typed: str) -> list[str]:
    """Whole texts that begin with what is typed; none where it cannot be the beginning of a pipeline."""
    before, comma, entry = typed.rpartition(",")
    name, colon, options = entry.partition(":")
    found = _options(name, options) if colon else (*names(), *RECIPES)
    head = f"{before}{comma}{name}{colon}" if colon else f"{before}{comma}"
    return [head + each for each in found if (head + each).startswith(typed)]


def _options(name: str, typed: str) -> Iterator[str]:
    """Of the pass with that name, whatever the last one begins with."""
    try:
        types = option_types(find(name))
    except CompressError:
        return
    before, colon, last = typed.rpartition(":")
    head, given = before + colon, {each.partition("=")[0].replace("-", "_") for each in before.split(":")}
    key, equals, _ = last.partition("=")
    if equals:
        yield from (f"{head}{key}={value}" for value in _values(types.get(key.replace("-", "_"), ())))
        return
    for option, members in types.items():
        if option not in given:
            yield f"{head}{option.replace('_', '-')}{'' if bool in members else '='}"


def _values(members: tuple[Any, ...]) -> Iterator[str]:
    for member in members:
        if get_origin(member) is Literal:
            yield from map(str, get_args(member))
        elif member is bool:
            yield from ("true", "false")
        elif member is NoneType:
            yield "none"
