"""Files that appear whole or not at all, and what is said when they cannot be written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .errors import CompressError, UsageError

_FIXES = {
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some space, or choose another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}


def check_output(path: Path, overwrite: bool = False) -> None:
    """Raise where `path` could not be written, before any work is done."""
    if path.is_dir():
        raise UsageError("is a folder", str(path), "give the name of a file")
    if not path.parent.is_dir():
        raise CompressError("no such folder", str(path.parent), "create it, or choose another output")
    if path.exists() and not overwrite:
        raise UsageError("exists already", str(path), "--overwrite replaces it")
    with writing(path), tempfile.TemporaryFile(dir=path.parent):
        pass


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
