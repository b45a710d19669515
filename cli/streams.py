"""stdout and stderr that do not end a run: what was done stays done where nobody reads on, and a full disk is told.

closed        nothing is written, as if to /dev/null
nobody reads  (`| head -1`) likewise; that is no failure
full          stdout: one line of error; stderr: nobody could be told
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TextIO

from ..compiler.errors import CompressError, UsageError

UNREAD = (errno.EPIPE, errno.EBADF)
FIX = "send it to a disk with some space left"


class Stream:
    """A text stream in the place of another, to which all but writing goes.

    Args:
        told: whether a failure to write is raised, as `CompressError`.
    """

    def __init__(self, stream: TextIO, name: str, told: bool):
        self._stream, self._name, self._told = stream, name, told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """What is still buffered, and all that follows, goes nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if self._told and error.errno not in UNREAD:
            raise CompressError(f"cannot be written: {error.strerror}", self._name, FIX) from error


def binary_output() -> Callable[[bytes], None]:
    """What writes bytes to stdout.

    Raises:
        UsageError: stdout is a terminal.
        CompressError: when it is called: not all could be written.
    """
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal", "-o -", "send it to a file or a pipe")
    stream = sys.stdout.buffer

    def write(content: bytes) -> None:
        try:
            stream.write(content)
            stream.flush()
        except OSError as error:
            if error.errno not in UNREAD:
                raise CompressError(f"cannot be written: {error.strerror}", "standard output", FIX) from error

    return write


@contextmanager
def lenient() -> Generator[None, None, None]:
    """`sys.stdout` and `sys.stderr` are such streams within the block, which ends with both flushed.

    Raises:
        CompressError: not all could be written to stdout.
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stdout and Stream(sys.stdout, "standard output", told=True)  # pyright: ignore[reportAttributeAccessIssue]
    sys.stderr = sys.stderr and Stream(sys.stderr, "standard error", told=False)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    finally:
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """A file that is opened later must not get the number of a stream, which libraries write to unasked."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
