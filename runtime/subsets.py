"""Two halves of calibration data, in alternating blocks: samples that are sorted (by class, by time) are in both.

A half keeps the batch size that a model insists on: then its blocks are whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..compiler.pipeline.context import Data, Feeds

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
        return every[every // _block(self.data) % 2 == int(self.odd)]

    def batches(self, size: int) -> Iterator[Feeds]:
        fixed, most = fixed_batch(self.data), min(size, _largest_batch(self.data) or size)
        held: list[Feeds] = []
        for position, block in enumerate(self.data.batches(_block(self.data))):
            if position % 2 != int(self.odd):
                continue
            held.append(block)
            if fixed or sum(_count(one) for one in held) >= most:
                yield _joined(held)
                held = []
        if held:
            yield _joined(held)


def fixed_batch(data: Data) -> int | None:
    """The only batch size that the model takes, or None; parts of data go by the whole."""
    return _of_whole(data, "fixed_batch")


def _largest_batch(data: Data) -> int | None:
    return _of_whole(data, "most")


def _of_whole(data: Data, attribute: str) -> int | None:
    whole = getattr(data, "data", None)
    return getattr(data, attribute, None) if whole is None else _of_whole(whole, attribute)


def _block(data: Data) -> int:
    return fixed_batch(data) or min(BLOCK, _largest_batch(data) or BLOCK)


def _count(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def _joined(blocks: list[Feeds]) -> Feeds:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
