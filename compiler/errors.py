"""The one error a user sees."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

REPORT = "please report it"
OUT_OF_MEMORY = "fewer --samples, smaller inputs, or a machine with more memory"


class CompressError(Exception):
    """Something the user can fix.

    Args:
        what: what is wrong, with the expected and the found value.
        where: the file, node, pass or option it is wrong in.
        fix: what to do about it.
    """

    exit_code = 1
    is_answer = False
    """It says that what was asked for cannot be had; nothing has gone wrong."""

    def __init__(self, what: str, where: str = "", fix: str = ""):
        self.what, self.where, self.fix = what, where, fix
        super().__init__(self._line())

    def _line(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.fix})" if self.fix else ""
        return f"{place}{self.what}{advice}"


class UsageError(CompressError):
    """A wrong option, pass name or value: exit code 2."""

    exit_code = 2
    is_answer = True


class Unavailable(CompressError):
    """What was asked for cannot be had: not of this model, or not with what is installed or given."""

    is_answer = True


class Fault(CompressError):
    """A pass has left a model that is not whole, or has moved outputs that it must not move."""


def unseen(what: str) -> Unavailable:
    """What cannot be fitted or calibrated, as behind a NonMaxSuppression that leaves no box of any sample."""
    return Unavailable(f"{what} is empty on all samples", "--data", "give samples on which it is not, or --exclude it")


def check_type(value: object, kinds: type | tuple[type, ...], name: str, fix: str) -> None:
    """`UsageError` where a value that Python code gives as `name` is none of these."""
    if not isinstance(value, kinds):
        raise UsageError(f"is of type {type(value).__name__}", name, fix)


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'? known: a, b, c`."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(known)}"
