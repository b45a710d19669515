"""Parts of data: a slice, every n-th block, chosen rows. Each is data itself, and keeps the batch size that a model
insists on.

Blocks are spread evenly over the samples, so that what is sorted (by class, by time) is in both parts.
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
FEWEST, LEAST, MOST = 32, 64, 1024
GOLDEN = (5**0.5 - 1) / 2


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
class Blocks(Subset):
    """The last block of every `every`; with `others` all but those.

    Attributes:
        size: samples of a block, at most; where the model takes batches of one size, a block is one.
    """

    every: int
    others: bool = False
    size: int = BLOCK

    def rows(self) -> np.ndarray:
        rows = np.arange(self.data.samples)
        return rows[self._chosen(rows // self._block())]

    def _chosen(self, block: np.ndarray) -> np.ndarray:
        return (block % self.every == self.every - 1) != self.others

    def _block(self) -> int:
        return self.fixed_batch or min(self.size, self.largest_batch or self.size)


@dataclass(frozen=True, eq=False)
class ChosenSamples(Subset):
    """The samples of these numbers (samples,), in this order."""

    chosen: np.ndarray

    def rows(self) -> np.ndarray:
        return self.chosen


def _count(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def halves(data: Data) -> tuple[Blocks, Blocks]:
    """Alternating blocks, four or more of each."""
    size = max(1, min(BLOCK, data.samples // 8))
    return Blocks(data, 2, others=True, size=size), Blocks(data, 2, size=size)


def evenly(data: Data, count: int) -> ChosenSamples:
    """About so many of the samples, or all, evenly spaced: samples may be sorted. Whole batches where the model
    insists."""
    whole = data.fixed_batch or 1
    count = min(max(count - count % whole, whole), data.samples)
    return ChosenSamples(data, np.arange(count) * data.samples // count)


def spread(data: Data) -> Data:
    """All samples in an order in which the first, however many, are evenly spread over them (the multiples of the
    golden ratio, modulo 1). As they are where they have several shapes, of which a batch has one."""
    if data.shapes is not None:
        return data
    return ChosenSamples(data, np.argsort(np.argsort(np.arange(data.samples) * GOLDEN % 1.0)))


def held_out(data: Data) -> tuple[Data, Blocks | None]:
    """Samples to fit on, and those that no fit is to see, spread evenly: an eighth of them, 64 to 1,024; of few samples
    up to a quarter, and none of fewer than `FEWEST`."""
    count = data.samples
    if count < FEWEST:
        return data, None
    every = max(count // MOST, min(max(count // LEAST, 4), 8))
    block = max(1, min(BLOCK, count // (4 * every)))
    chosen = Blocks(data, every, size=block)
    return (Blocks(data, every, others=True, size=block), chosen) if chosen.samples else (data, None)
