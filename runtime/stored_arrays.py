"""Arrays that stay in the file they were stored in, and are read a slice at a time: a .npy, or in an .npz that is not
compressed.

The pages of a file that is mapped count as memory of the process once they were read: of 512 images of 224 x 224 pixels
308 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from ..compiler.errors import CompressError

LARGE = 2**24
"""Bytes; a smaller array may as well be read whole."""
CHUNK = 2**20
LOCAL_HEADER, LENGTHS = 30, slice(26, 30)
Header = Callable[[IO[bytes]], tuple[tuple[int, ...], bool, np.dtype]]
HEADERS: dict[tuple[int, int], Header] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class StoredArray:
    """Rows (`parts.Rows`) in a file.

    Attributes:
        start: the byte of the file where the values begin.
    """

    path: Path
    start: int
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice, /) -> np.ndarray:
        """A copy; `CompressError` where the file is no longer there, or shorter than it was."""
        first, stop, _ = index.indices(len(self))
        shape = (max(0, stop - first), *self.shape[1:])
        try:
            with self.path.open("rb") as file:
                file.seek(self.start + first * self.first(1).nbytes)
                values = np.fromfile(file, self.dtype, prod(shape))
        except OSError as error:
            raise self._changed(f"cannot be read: {error.strerror or error}") from error
        if len(values) < prod(shape):
            raise self._changed("has become shorter while it was read")
        return values.reshape(shape)

    def first(self, count: int) -> StoredArray:
        """Without those behind the first `count`."""
        return replace(self, shape=(min(count, len(self)), *self.shape[1:]))

    def _changed(self, what: str) -> CompressError:
        return CompressError(what, str(self.path), "leave the file as it is until the run has ended")


def stored_array(path: Path) -> StoredArray | None:
    """The array in a .npy; None where it is small, or does not lie in the file row by row."""
    size = path.stat().st_size
    if size < LARGE:
        return None
    with path.open("rb") as file:
        return _array(file, path, 0, size)


def stored_member(path: Path, archive: ZipFile, entry: ZipInfo) -> StoredArray | None:
    """The same of a member of an archive, whose checksum is compared; `BadZipFile` where it is another one."""
    if entry.compress_type != ZIP_STORED or entry.file_size < LARGE:
        return None
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        lengths = np.frombuffer(file.read(LOCAL_HEADER)[LENGTHS], "<u2")
    with archive.open(entry) as content:
        found = _array(content, path, entry.header_offset + LOCAL_HEADER + int(lengths.sum()), entry.file_size)
        while found is not None and content.read(CHUNK):
            pass
    return found


def _array(content: Any, path: Path, start: int, size: int) -> StoredArray | None:
    """The one that `content` holds, whose `size` bytes lie from `start` on in the file."""
    prefix = np.lib.format.MAGIC_PREFIX
    magic = content.read(len(prefix) + 2)
    header = HEADERS.get((magic[-2], magic[-1])) if magic.startswith(prefix) else None
    if header is None:
        return None
    shape, by_columns, dtype = header(content)
    found = StoredArray(path, start + content.tell(), dtype, shape)
    is_whole = content.tell() + found.nbytes <= size
    return found if is_whole and shape and not by_columns and not dtype.hasobject else None
