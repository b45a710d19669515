"""What values the tensors of a network take: histograms of |x|, streamed over calibration data in bounded memory.

A histogram has `BINS` equal bins whose width is a power of two. When a value lies beyond the last bin, neighbouring
bins are merged until it fits, which is exact: one run over the data is enough, at least half of the bins are always
in use, and histograms of different tensors can be added. Of a large tensor every k-th value is counted (k odd), about
`COUNTED` of every sample; the peak sees all values.

Samples go through the network in batches of at most `MEMORY` bytes of observed tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError, unseen
from ..compiler.pipeline.data import Data, Feeds
from ..compiler.pipeline.progress import Progress, silent
from .data import batch_size, one_of_each_shape
from .session import graph_session

BINS = 4096
COUNTED = 1 << 12
MEMORY = 64 << 20


@dataclass
class Histogram:
    """Counts of |x|: bin b holds b * width <= |x| < (b + 1) * width.

    Attributes:
        counts: (BINS,) int64.
        exponent: the histogram reaches to 2^exponent.
        peak: the largest |x| seen.
        low: the least x seen, 0 where none is negative.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    exponent: int = -60
    peak: float = 0.0
    low: float = 0.0

    @property
    def width(self) -> float:
        return 2.0**self.exponent / BINS

    def add(self, values: np.ndarray) -> None:
        """Count the entries of a float array; `ValueError` on NaN and Inf."""
        flat = values.reshape(-1)
        if not flat.size:
            return
        low = float(flat.min())
        peak = max(float(flat.max()), -low)
        if not np.isfinite(peak):
            raise ValueError("not finite")
        self._reach(peak)
        self.low = min(self.low, low)
        step = 2 * (flat.size // (COUNTED * max(1, len(values))) // 2) + 1
        bins = (np.abs(flat[::step]) * np.float32(1 / self.width)).astype(np.intp)
        self.counts += np.bincount(bins, minlength=BINS)

    def merge(self, other: Histogram) -> None:
        """Add the counts of `other`, which may be re-binned."""
        self._reach(other.peak)
        other.widen(self.exponent)
        self.widen(other.exponent)
        self.counts += other.counts
        self.low = min(self.low, other.low)

    def widen(self, exponent: int) -> None:
        """Merge bins until the histogram reaches to 2^exponent."""
        if exponent <= self.exponent:
            return
        factor = min(BINS, 1 << min(exponent - self.exponent, 62))
        folded = self.counts.reshape(-1, factor).sum(axis=1)
        self.counts = np.zeros(BINS, np.int64)
        self.counts[: len(folded)] = folded
        self.exponent = exponent

    def _reach(self, peak: float) -> None:
        self.peak = max(self.peak, peak)
        self.widen(int(np.frexp(peak)[1]) if peak > 0 else self.exponent)


class Reader(Protocol):
    """Takes what it needs of tensors that are observed in the same run."""

    def tensors(self) -> Collection[str]:
        """Their names."""
        ...

    def add(self, values: Mapping[str, np.ndarray]) -> None:
        """A batch of them, by name, with others."""
        ...


def histograms(
    graph: gs.Graph,
    names: Sequence[str],
    data: Data,
    samples: int,
    progress: Progress = silent,
    reader: Reader | None = None,
) -> dict[str, Histogram]:
    """The histogram of every named tensor of `graph` over the first `samples` of `data`.

    Raises:
        CompressError: a tensor is NaN or Inf on this data, or has no values.
    """
    found = {name: Histogram() for name in names}

    def count(name: str, values: np.ndarray) -> None:
        try:
            found[name].add(values)
        except ValueError as error:
            raise CompressError(
                f"tensor '{name}' is NaN or Inf on the calibration data", "", "check --preprocess"
            ) from error

    wanted = [*names, *(reader.tensors() if reader else ())]
    for values in observe(graph, wanted, data, samples, progress, "calibrate"):
        for name in names:
            count(name, values[name])
        if reader:
            reader.add(values)
    for name, histogram in found.items():
        if not histogram.counts.any():
            raise unseen(f"tensor '{name}'")
    return found


def channel_peaks(
    graph: gs.Graph, names: Sequence[str], data: Data, samples: int, progress: Progress = silent
) -> dict[str, np.ndarray]:
    """The largest |x| per channel (axis 1) of every named tensor."""
    peaks: dict[str, np.ndarray] = {}
    for values in observe(graph, names, data, samples, progress, "balance"):
        for name in names:
            seen = values[name]
            if not seen.size:
                continue
            others = tuple(axis for axis in range(seen.ndim) if axis != 1)
            peaks[name] = np.maximum(peaks.get(name, 0.0), np.maximum(seen.max(others), -seen.min(others)))
    for name in names:
        if name not in peaks:
            raise unseen(f"tensor '{name}'")
    return peaks


def observe(
    graph: gs.Graph, names: Sequence[str], data: Data, samples: int, progress: Progress = silent, stage: str = "observe"
) -> Iterator[Mapping[str, np.ndarray]]:
    """The named tensors of `graph` (or model inputs), batch by batch, over the first `samples` of `data`."""
    inputs = {tensor.name for tensor in graph.inputs}
    wanted = [name for name in dict.fromkeys(names) if name not in inputs]
    run = graph_session(graph, wanted, streamed=True).run if wanted else _nothing
    size = fixed_batch(graph) or _batch_size(run, data)
    with progress(stage, -(-min(samples, data.samples) // size)) as advance:
        for feeds in first_samples(data, size, samples, fixed_batch(graph) is not None):
            yield {**feeds, **run(feeds)}
            advance()


def first_samples(data: Data, size: int, samples: int, whole: bool = False) -> Iterator[Feeds]:
    """Batches of `size` until `samples` are reached; `whole` leaves out a batch that is not full."""
    left = min(samples, data.samples)
    for feeds in data.batches(size):
        count = min(left, _length(feeds))
        if count <= 0 or (whole and count < size):
            return
        yield {name: array[:count] for name, array in feeds.items()}
        left -= count
        if not left:
            return


def fixed_batch(graph: gs.Graph) -> int | None:
    """The batch size that the model's first input declares, or None where it is open."""
    shape = graph.inputs[0].shape if graph.inputs else None
    return int(shape[0]) if shape and isinstance(shape[0], int) and shape[0] > 0 else None


def _batch_size(run: Callable[[Feeds], Mapping[str, np.ndarray]], data: Data) -> int:
    sizes = [sum(array.nbytes for array in run(feeds).values()) for feeds in one_of_each_shape(data)]
    return max(1, min(batch_size(data), MEMORY // max(1, *sizes)))


def _nothing(feeds: Feeds) -> dict[str, np.ndarray]:
    return {}


def _length(feeds: Feeds) -> int:
    return min((len(array) for array in feeds.values() if array.ndim), default=0)
