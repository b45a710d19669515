"""Two halves of calibration data, in alternating blocks: samples that are sorted (by class, by time) are in both.

A half keeps the batch size that a model insists on: then its blocks are whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..compiler.context import Data, Feeds

BLOCK = 16


@dataclass(frozen=True)
class Half:
    """Every second block of `data`; with `odd` the others."""

    data: Data
    odd: bool = False

    @property
    def samples(self) -> int:
        return len(self.rows())

    def rows(self) -> np.ndarray:
        """The positions of this half's samples in `data`."""
        every = np.arange(self.data.samples)
        return every[every // (fixed_batch(self.data) or BLOCK) % 2 == int(self.odd)]

    def batches(self, size: int) -> Iterator[Feeds]:
        fixed = fixed_batch(self.data)
        held: list[Feeds] = []
        for position, block in enumerate(self.data.batches(fixed or BLOCK)):
            if position % 2 != int(self.odd):
                continue
            held.append(block)
            if fixed or sum(_count(one) for one in held) >= size:
                yield _joined(held)
                held = []
        if held:
            yield _joined(held)


def fixed_batch(data: Data) -> int | None:
    """The only batch size that the model takes, or None; parts of data go by the whole."""
    whole = getattr(data, "data", None)
    return getattr(data, "fixed_batch", None) if whole is None else fixed_batch(whole)


def _count(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def _joined(blocks: list[Feeds]) -> Feeds:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
