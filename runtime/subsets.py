"""Parts of data: a slice, every second block, chosen rows. Each is data itself, and keeps the batch size that a model
insists on.

Halves are alternating blocks, so that samples that are sorted (by class, by time) are in both.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..compiler.pipeline.data import Data, Feeds
from .parts import batch_bounds

BLOCK = 16


@dataclass(frozen=True, eq=False)
class Subset(ABC):
    """Some samples of other data."""

    data: Data

    @abstractmethod
    def rows(self) -> np.ndarray:
        """The positions of the samples in `data`."""

    def batches(self, size: int) -> Iterator[Feeds]:
        rows, step = self.rows(), self.fixed_batch or min(size, self.largest_batch or size)
        for start, stop in batch_bounds(len(rows), step, self.shapes):
            yield self.data.take(rows[start:stop])

    @property
    def samples(self) -> int:
        return len(self.rows())

    @property
    def labels(self) -> np.ndarray | None:
        labels = self.data.labels
        return None if labels is None else labels[self.rows()]

    @property
    def shapes(self) -> np.ndarray | None:
        shapes = self.data.shapes
        return None if shapes is None else shapes[self.rows()]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data.digest.encode() + self.rows().astype(np.int64).tobytes()).hexdigest()

    @property
    def description(self) -> str:
        return self.data.description

    @property
    def fixed_batch(self) -> int | None:
        return self.data.fixed_batch

    @property
    def largest_batch(self) -> int | None:
        return self.data.largest_batch

    def take(self, rows: np.ndarray) -> Feeds:
        return self.data.take(self.rows()[rows])


@dataclass(frozen=True, eq=False)
class Slice(Subset):
    """The samples `start` to `stop`."""

    start: int
    stop: int

    def rows(self) -> np.ndarray:
        return np.arange(self.start, self.stop)

    def batches(self, size: int) -> Iterator[Feeds]:
        position = 0
        for batch in self.data.batches(size):
            count = _count(batch)
            low, high = max(self.start - position, 0), min(self.stop - position, count)
            if low < high:
                yield {name: array[low:high] for name, array in batch.items()}
            position += count
            if position >= self.stop:
                return


@dataclass(frozen=True, eq=False)
class Half(Subset):
    """Every second block; with `odd` the others. Blocks are whole batches where the model takes one size only."""

    odd: bool = False

    def rows(self) -> np.ndarray:
        every = np.arange(self.data.samples)
        return every[every // self._block() % 2 == int(self.odd)]

    def _block(self) -> int:
        return self.fixed_batch or min(BLOCK, self.largest_batch or BLOCK)


@dataclass(frozen=True, eq=False)
class ChosenSamples(Subset):
    """The samples of these numbers (samples,), in this order."""

    chosen: np.ndarray

    def rows(self) -> np.ndarray:
        return self.chosen


def _count(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))
