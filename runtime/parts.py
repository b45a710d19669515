"""Samples of several shapes: rows that lie in several arrays, and the batches that can be made of them.

Samples of one shape make a batch, so a batch ends where the shape changes. Nothing is sorted: order, and with it the
labels, stay as they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Rows(Protocol):
    """Samples along axis 0, read a slice at a time; arrays are rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Parts:
    """Rows one after another; a slice lies in parts of one shape."""

    parts: Sequence[Rows]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: slice, /) -> np.ndarray:
        found = self.first(index.stop, index.start or 0).parts
        return found[0][:] if len(found) == 1 else np.concatenate([part[:] for part in found])

    def first(self, stop: int | None, start: int = 0) -> Parts:
        """The rows `start` to `stop`, as parts; at least an empty one."""
        stop = len(self) if stop is None else min(stop, len(self))
        found, position = list[Rows](), 0
        for part in self.parts:
            low, high = max(start - position, 0), min(stop - position, len(part))
            if low < high:
                found.append(part[low:high])
            position += len(part)
        return Parts(found or [self.parts[0][:0]])


def several_shapes(rows: Sequence[Rows]) -> np.ndarray | None:
    """Which samples have one shape in all of the columns `rows`: (samples,) equal numbers; None where all have."""
    columns = [_shapes(column) for column in rows if isinstance(column, Parts)]
    numbers: dict[object, int] = {}
    found = [numbers.setdefault(shapes, len(numbers)) for shapes in zip(*columns, strict=True)]
    return np.array(found) if len(numbers) > 1 else None


def _shapes(column: Parts) -> Iterator[tuple[int, ...]]:
    for part in column.parts:
        shape = part[:1].shape[1:]
        yield from (shape for _ in range(len(part)))


def batch_bounds(count: int, size: int, shapes: np.ndarray | None) -> Iterator[tuple[int, int]]:
    """First and behind the last of each batch, out of `count` samples: at most `size`, all of one shape."""
    changes = [] if shapes is None else (np.flatnonzero(np.diff(shapes)) + 1).tolist()
    for start, stop in zip([0, *changes], [*changes, count], strict=True):
        yield from ((first, min(first + size, stop)) for first in range(start, stop, size))
