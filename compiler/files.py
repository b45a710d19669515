"""Files that appear whole or not at all, and what is said when they cannot be written or read.

`check_places` compares all files of a run before any work: none that is read is written, none is written twice. Files
are one where the system says so (symbolic and hard links, `..`, folders that ignore case), and where two that are not
there yet differ by case at most.
"""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

from .disguises import JSON, TEXT, disguised
from .errors import CompressError, UsageError

_FIXES = {
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some space, or choose another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}


ELSEWHERE = "choose another name"


@dataclass(frozen=True)
class Place:
    """A file that a run reads or writes.

    Attributes:
        word: what the user knows it by: "the model", "--report".
        path: the file; or a folder, of which the files count whose path inside matches `holds`.
        fresh: it must not be there yet, unless files may be overwritten.
        replaces: the word of what it may be written over.
    """

    word: str
    path: Path
    holds: re.Pattern[str] | None = None
    fresh: bool = True
    replaces: str | None = None


def check_places(reads: Sequence[Place], writes: Sequence[Place], overwrite: bool = False) -> None:
    """See the module docstring.

    Raises:
        UsageError: a file would be read and written, or written twice, or is there already.
        CompressError: a file could not be written.
    """
    for written, read in product(writes, reads):
        if written.replaces != read.word and _meet(written, read):
            where = read.path if written.holds else written.path
            raise UsageError(f"{written.word} would write over {read.word}", str(where), ELSEWHERE)
    for one, other in combinations(writes, 2):
        if _meet(one, other):
            where = other.path if one.holds else one.path
            raise UsageError(f"{one.word} and {other.word} name one file", str(where), ELSEWHERE)
    for written in writes:
        if written.fresh and written.holds is None:
            check_output(written.path, overwrite)


def _meet(one: Place, other: Place) -> bool:
    """Whether there is a file that both name."""
    if one.holds and other.holds:
        return False
    if other.holds:
        one, other = other, one
    if not one.holds:
        return is_same_file(one.path, other.path)
    folder, file = (os.path.realpath(place.path) for place in (one, other))
    return Path(file).is_relative_to(folder) and bool(one.holds.fullmatch(Path(file).relative_to(folder).as_posix()))


def beside(path: Path, suffix: str) -> Path:
    """The file of the same name with another suffix; `UsageError` for a path without a name, such as `.`."""
    if not path.name:
        raise UsageError("is a folder", str(path), "give the name of a file")
    return path.with_suffix(suffix)


def check_folder(path: Path) -> None:
    """Raise where no folder could be made at `path`, or nothing written in it, before any work is done."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError("is a file", str(there), "give the name of a folder")
    with writing(path), tempfile.TemporaryFile(dir=there):
        pass


def is_same_file(one: Path, other: Path) -> bool:
    """See the module docstring."""
    there = one.exists(), other.exists()
    if any(there):
        return all(there) and one.samefile(other)
    return os.path.realpath(one).casefold() == os.path.realpath(other).casefold()


def check_output(path: Path, overwrite: bool = False) -> None:
    """Raise where `path` could not be written, before any work is done."""
    if path.is_dir():
        raise UsageError("is a folder", str(path), "give the name of a file")
    if _is_device(path):
        raise UsageError("is a device or a pipe", str(path), "give the name of a file")
    if not path.parent.is_dir():
        raise CompressError("no such folder", str(path.parent), "create it, or choose another output")
    if path.exists() and not overwrite:
        raise UsageError("exists already", str(path), "--overwrite replaces it")
    with writing(path), tempfile.TemporaryFile(dir=path.parent):
        pass


def _is_device(path: Path) -> bool:
    """Also where `/dev/stdout` is a file: a rename would replace the link in /dev for all programs."""
    folder = Path(os.path.realpath(path.parent))
    return (path.exists() and not path.is_file()) or folder == Path("/dev") or folder.is_relative_to("/proc")


def read_json(path: Path) -> Any:
    """What a JSON file holds; `OSError` or `ValueError` where that cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("too deeply nested") from None
    except ValueError as error:
        found = disguised(path)
        if found in (None, JSON, TEXT):
            raise
        raise ValueError(f"no JSON, but {found.what}: {found.fix}") from error


@contextmanager
def writing(path: Path) -> Generator[None, None, None]:
    """Turns an OSError in the block into one that says what cannot be written and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CompressError(f"cannot be written: {reason}", str(path), _FIXES.get(error.errno or 0, "")) from error


@contextmanager
def staged(path: Path) -> Generator[Path, None, None]:
    """A file to write beside `path`; it takes the place of `path` when the block ends well, and goes away otherwise."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        part = Path(folder) / path.name
        yield part
        os.replace(part, path)
