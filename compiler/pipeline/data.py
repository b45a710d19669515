"""What passes ask of calibration samples, and of a metric of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs

Feeds = Mapping[str, np.ndarray]
ACTIVATIONS = 2**32
"""Bytes of the activations of samples that are held in RAM at once, by network."""


class Data(Protocol):
    """Samples. Iterating again yields the same batches in the same order."""

    @property
    def samples(self) -> int:
        """How many samples all batches hold together."""
        ...

    @property
    def labels(self) -> np.ndarray | None:
        """Class by sample (samples,), int64, where there are labels."""
        ...

    @property
    def shapes(self) -> np.ndarray | None:
        """Which samples have one shape: (samples,), equal numbers; None where all have."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of what the batches hold."""
        ...

    @property
    def description(self) -> str:
        """Where they came from, as the user wrote it."""
        ...

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size that the model takes, or None; parts of data go by the whole."""
        ...

    @property
    def largest_batch(self) -> int | None:
        """At most so many samples fit in a batch, or None."""
        ...

    def batches(self, size: int) -> Iterator[Feeds]:
        """The samples as model inputs by name, `size` or fewer along axis 0, in a batch all of one shape."""
        ...

    def take(self, rows: np.ndarray) -> Feeds:
        """The samples of these numbers, which have one shape, in this order, as one batch."""
        ...


class Metric(Protocol):
    """The user's own metric of networks: the larger, the better."""

    @property
    def label(self) -> str: ...

    @property
    def samples(self) -> int:
        """That the last network was run on, 0 where it is not known."""
        ...

    def original(self, network: gs.Graph) -> float:
        """Of the network that the run begins with."""
        ...

    def value(self, network: gs.Graph) -> float: ...
