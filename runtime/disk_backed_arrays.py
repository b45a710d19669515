"""Arrays that may be too many for memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, overload

import numpy as np

from ..compiler.errors import CompressError

Place = tuple[int, np.dtype, tuple[int, ...]]


class DiskBackedArrays(Sequence[np.ndarray]):
    """Arrays in the order they were added, in memory or in a temporary file that goes with the arrays.

    One that lies in the file is read anew each time it is asked for, so that only it is in memory.
    """

    def __init__(self) -> None:
        self._parts: list[np.ndarray | Place | None] = []
        self._file: IO[bytes] | None = None
        self.lengths: list[int] = []
        self.held = 0
        """Bytes in memory."""

    def add(self, value: np.ndarray, to_file: bool = False) -> None:
        """Append an array of one axis or more, or a number."""
        self.lengths.append(len(value) if value.ndim else 1)
        if to_file and value.size and not value.dtype.hasobject:
            self._parts.append((self._write(value), value.dtype, value.shape))
            return
        self._parts.append(value)
        self.held += value.nbytes

    def drop(self, index: int) -> None:
        """Give an array up; it is not asked for again."""
        part = self._parts[index]
        if isinstance(part, np.ndarray):
            self.held -= part.nbytes
        self._parts[index] = None

    def shape(self, index: int) -> tuple[int, ...]:
        """Of an array that is not read for it."""
        part = self._parts[index]
        if part is None:
            raise IndexError(f"array {index} was given up")
        return part.shape if isinstance(part, np.ndarray) else part[2]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        part = self._parts[index]
        if part is None:
            raise IndexError(f"array {index} was given up")
        return part if isinstance(part, np.ndarray) else self._read(*part)

    def _write(self, value: np.ndarray) -> int:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
            start = self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(value).data)
            self._file.flush()
        except OSError as error:
            what = f"activations cannot be put aside: {error.strerror or error}"
            raise CompressError(what, tempfile.gettempdir(), "TMPDIR on another disk, or fewer --samples") from error
        return start

    def _read(self, start: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        assert self._file is not None
        value = np.empty(shape, dtype)
        self._file.seek(start)
        self._file.readinto(value.data)  # type: ignore[attr-defined]
        return value
