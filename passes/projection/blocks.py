"""Large weights a few rows at a time, so that what is computed of them stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 2**17  # elements


def row_blocks(weight: np.ndarray, elements: int | None = None) -> Iterator[slice]:
    """Slices that cover the rows of `weight` (n, d), about so many (`BLOCK`) elements each."""
    count = max(1, (elements or BLOCK) // max(1, weight.shape[1]))
    return (slice(start, start + count) for start in range(0, len(weight), count))
