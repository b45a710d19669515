"""Standard output and error that take every text.

What was a byte that is no text in a file's name (PEP 383) is that byte again; what the encoding has no letter for is a
question mark.
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

ANYTHING = "onnx-compress"
ESCAPED = range(0xDC80, 0xDD00)
"""The bytes 128 to 255 in the text of a file's name."""


@contextmanager
def any_text() -> Generator[None, None, None]:
    """They do so in the block."""
    codecs.register_error(ANYTHING, _as_bytes)
    streams: list[Any] = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors=ANYTHING)
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with suppress(BrokenPipeError):  # nobody reads any more
                stream.reconfigure(errors=errors)


def _as_bytes(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = [ord(letter) for letter in error.object[error.start : error.end]]
    return bytes(letter & 0xFF if letter in ESCAPED else ord("?") for letter in letters), error.end
