"""Two networks run over the same samples once, for all that is to be said about them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...compiler.errors import CompressError
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.progress import Progress, silent
from ..data import batch_size
from ..memory import trim
from ..session import Session
from .comparison import Comparison, Judged

BATCH_BYTES = 2**21
"""Of the input of a batch. For 3 images of 224 x 224 at once a session of EfficientNet-Lite0 holds some 30 MB, for 8 of
them 78, and takes no less time."""


def compared(
    reference: Session, other: Session, data: Data, *comparisons: Comparison, progress: Progress = silent
) -> list[Judged]:
    """What each of `comparisons` finds; outputs are paired by position. A session beside itself runs once.

    Raises:
        CompressError: the outputs differ in number or shape, or none of them holds numbers.
    """
    size = batch_size(data, BATCH_BYTES, 1)
    trim()
    with progress("judge", -(-data.samples // size)) as advance:
        for feeds in data.batches(size):
            wanted = numbers(reference.run(feeds))
            paired = _paired(wanted, wanted if other is reference else numbers(other.run(feeds)))
            for comparison in comparisons:
                comparison.add(wanted, paired)
            advance()
    return [comparison.result() for comparison in comparisons]


def _paired(wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is found, under the names of what is wanted."""
    shapes = [[value.shape for value in side.values()] for side in (wanted, found)]
    if shapes[0] != shapes[1]:
        what = f"outputs differ in shape: {shapes[0]} and {shapes[1]}"
        raise CompressError(what, "metric", "compare networks of one task")
    if not wanted:
        raise CompressError("no output is a tensor of numbers", "outputs", "give a network with such an output")
    return dict(zip(wanted, found.values(), strict=True))


def numbers(outputs: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Without text, sequences and maps."""
    return {
        name: value for name, value in outputs.items() if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    }
