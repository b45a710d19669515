"""Errors in the words of Python code: options by their keywords, not by the flags of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields

from ..errors import CompressError
from .options import RunOptions, flag_of

FLAG = re.compile(r"(?<![\w-])-(?:-[a-z][a-z-]*[a-z]|[a-z])(?![\w-])")


def in_keywords(error: CompressError, more: Iterable[str] = ()) -> CompressError:
    """The same error; `more`: keywords beside those of `RunOptions`."""
    words = {**_keywords(), **{f"--{name.replace('_', '-')}": name for name in more}}
    what, where, fix = (
        FLAG.sub(lambda found: words.get(found[0], found[0]), text) for text in (error.what, error.where, error.fix)
    )
    CompressError.__init__(error, what, where, fix)
    return error


def _keywords() -> Mapping[str, str]:
    """By flag."""
    found: dict[str, str] = {}
    for entry in fields(RunOptions):
        for name in flag_of(entry).names:
            is_switch = isinstance(entry.default, bool)
            found[name] = f"{entry.name}={not entry.default}" if is_switch else entry.name
    return found
