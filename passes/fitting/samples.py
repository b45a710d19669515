"""The samples that error curves are drawn from, and those held out from them."""

from __future__ import annotations

from ...compiler.pipeline.data import Data
from ...runtime.subsets import Slice, evenly

CURVE_ROWS, CURVE_SAMPLES, FEWEST_SAMPLES = 2**13, 256, 64
SPARE = 2  # rows that samples have for every one that a curve reads: neighbours in an image are alike


def curve_samples(data: Data, positions: int = 1) -> Data:
    """The samples that error curves are drawn from; the others are held out. Whole batches where the model insists.

    Args:
        positions: rows that every layer has of one sample; where there are many, fewer samples do.
    """
    enough = max(FEWEST_SAMPLES, -(-SPARE * CURVE_ROWS // positions))
    return Slice(data, 0, _whole(data, min(CURVE_SAMPLES, enough, data.samples // 2)) or data.samples)


def held_out(data: Data, count: int) -> Data | None:
    """About `count` samples that no error curve has seen, spread over them; None where there are none."""
    seen = curve_samples(data).samples
    return evenly(Slice(data, seen, data.samples), count) if seen < data.samples else None


def _whole(data: Data, count: int) -> int:
    return count - count % (data.fixed_batch or 1)
