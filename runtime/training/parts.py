"""Steps over more samples than a network takes at once: part by part, with the mean of their gradients.

Networks whose batch size is fixed, often to 1, would else learn from one sample at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...compiler.pipeline.data import Feeds
from .engine import Array, Trainer


def parted(feeds: Feeds, parts: int) -> Iterator[Feeds]:
    """Equal parts along axis 0 of every array."""
    if parts == 1:
        yield feeds
        return
    pieces = {name: np.split(values, parts) for name, values in feeds.items()}
    yield from ({name: values[index] for name, values in pieces.items()} for index in range(parts))


@dataclass(frozen=True)
class PartedTrainer:
    """A trainer of batches `parts` times as large as those of `trainer`. See `engine.Trainer`."""

    trainer: Trainer
    parts: int

    def arrays(self, values: Mapping[str, np.ndarray]) -> dict[str, Array]:
        return self.trainer.arrays(values)

    def gradients(self, parameters: Mapping[str, Array], feeds: Feeds) -> tuple[float, dict[str, Array]]:
        """Means over the parts."""
        first, *others = parted(feeds, self.parts)
        loss, total = self.trainer.gradients(parameters, first)
        for each in others:
            more, gradients = self.trainer.gradients(parameters, each)
            loss += more
            total = {name: total[name] + gradients[name] for name in total}
        return loss / self.parts, {name: gradient / self.parts for name, gradient in total.items()}

    def numpy(self, arrays: Mapping[str, Array]) -> dict[str, np.ndarray]:
        return self.trainer.numpy(arrays)
