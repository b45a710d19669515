"""Code of the user's: plug-ins, and functions that yield samples.

Whatever it raises becomes an error that names the line, `SystemExit` included: a program that stops half-way must not
look like one that has done its work. `KeyboardInterrupt`, `MemoryError` and errors of this package come through.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CompressError, UsageError

PACKAGE = Path(__file__).resolve().parents[2]
THROUGH = (KeyboardInterrupt, MemoryError, CompressError)


@contextmanager
def user_code(what: str, where: str, fix: str) -> Generator[None, None, None]:
    """Runs code of the user's; `UsageError` with `what` went wrong and the line for whatever it raises."""
    try:
        yield
    except THROUGH:
        raise
    except BaseException as error:
        raise UsageError(f"{what}{line_of(error)}: {cause(error)}", where, fix) from error


def cause(error: BaseException) -> str:
    """What was raised, in one line."""
    if isinstance(error, SystemExit):
        return f"it ends the program, by sys.exit({'' if error.code is None else repr(error.code)})"
    return repr(error)


def line_of(error: BaseException) -> str:
    """` in line 12 of loader.py`: the last line outside of this package and of installed ones; "" if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" in line {error.lineno} of {Path(error.filename).name}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and not _is_installed(file.resolve()):
            return f" in line {frame.lineno} of {file.name}"
    return ""


def _is_installed(file: Path) -> bool:
    if file.is_relative_to(PACKAGE):
        return file.relative_to(PACKAGE).parts[0] not in ("examples", "tests")
    return "site-packages" in file.parts or file.is_relative_to(STANDARD)


STANDARD = Path(traceback.__file__).resolve().parent
