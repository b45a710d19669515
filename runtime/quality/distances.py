"""How far the outputs of a network are from those of the original, as numbers; streamed over batches.

error          per output and channel c: e_c = E|a - b|^2 / var(a), 1 at most, a of the original, variance over samples
               and positions; of an output sqrt(mean_c e_c), of several outputs the mean
relative       ||a - b|| / ||a|| over all outputs of all samples
divergence     T^2 KL(softmax(a / T) || softmax(b / T)) of the first output's class scores, the mean over samples; of
               probabilities their logarithms are the scores

The variance that errors are relative to is that of the channel, so that boxes and scores in one tensor count alike, and
what is lost is lost. Channels that hardly move (classes that no sample shows) count against `FLOOR` of what the quieter
channels move, the lower quartile.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
from scipy.special import log_softmax

from .comparison import Judged, deviation_of
from .outputs import Outputs, channel_axes, log_scores

FLOOR, QUIETER = 0.1, 0.25
PIECE = 2**16
"""Values that are compared together: outputs may be as large as class maps, a processor's cache is not."""
TINY = 1e-30


class NormalisedError:
    """Of every output and channel, relative to how much the original's moves."""

    metric = "error"

    def __init__(self) -> None:
        self._outputs: dict[str, _OutputError] = {}

    def add(self, reference: Outputs, other: Outputs) -> None:
        for name, value in reference.items():
            self._outputs.setdefault(name, _OutputError()).add(value, other[name])

    def result(self) -> Judged:
        found = {name: each.result() for name, each in self._outputs.items()}
        value = float(np.mean([error for error, _, _ in found.values()]))
        deviations = [each for _, each, _ in found.values() if each is not None]
        deviation = sqrt(sum(each**2 for each in deviations)) / len(found) if len(deviations) == len(found) else None
        errors = {name: error for name, (error, _, _) in found.items()} if len(found) > 1 else {}
        samples = max(count for _, _, count in found.values())
        return Judged(self.metric, value, value, samples, deviation, errors)


class RelativeError:
    """Of all outputs together: it says little where one of them outweighs the others."""

    metric = "relative"

    def __init__(self) -> None:
        self._distance = self._energy = 0.0

    def add(self, reference: Outputs, other: Outputs) -> None:
        for name, value in reference.items():
            for a, b in in_pieces(value, other[name]):
                self._distance += float(np.square(a - b).sum())
                self._energy += float(np.square(a).sum())

    def result(self) -> Judged:
        nothing = 0.0 if self._distance == 0 else float("inf")
        value = sqrt(self._distance / self._energy) if self._energy else nothing
        return Judged(self.metric, value, value)


def in_pieces(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Arrays of one size, a piece of each at a time: float64, flat."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, PIECE):
        yield tuple(array[start : start + PIECE].astype(np.float64) for array in flat)


class Divergence:
    """Of the class scores in the first output, softened by a temperature T."""

    metric = "divergence"

    def __init__(self, temperature: float = 1.0) -> None:
        self._temperature = temperature
        self._found: list[np.ndarray] = []

    def add(self, reference: Outputs, other: Outputs) -> None:
        name = next(iter(reference))
        self._found.append(kullback_leibler(*log_scores(reference[name], other[name]), self._temperature))

    def result(self) -> Judged:
        found = np.concatenate(self._found)
        value = float(found.mean())
        return Judged(self.metric, value, value, len(found), deviation_of(found))


def kullback_leibler(a: np.ndarray, b: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """T^2 KL(softmax(a / T) || softmax(b / T)) per row of (N, classes): (N,) float64."""
    p, q = (log_softmax(rows.astype(np.float64) / temperature, axis=1) for rows in (a, b))
    return temperature**2 * np.sum(np.exp(p) * (p - q), axis=1)


class _OutputError:
    """By the axis of its channels: of those that may be it, the first whose size all batches share."""

    def __init__(self) -> None:
        self._axes: dict[int | None, _Sums] = {}

    def add(self, reference: np.ndarray, other: np.ndarray) -> None:
        self._axes = self._axes or {axis: _Sums() for axis in channel_axes(reference)}
        for axis, sums in list(self._axes.items()):
            a, b = (_by_channel(value, axis) for value in (reference, other))
            if not sums.add(a, b):
                del self._axes[axis]

    def result(self) -> tuple[float, float | None, int]:
        """Error, its standard error, samples."""
        return next(iter(self._axes.values())).result()


class _Sums:
    """By channel, and the squared errors of every sample."""

    def __init__(self) -> None:
        self._count = 0
        self._total: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0
        self._errors: list[np.ndarray] = []

    def add(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Arrays (samples, channels, rest); False where the channels are not as many as before."""
        if self._errors and self._errors[0].shape[1] != a.shape[1]:
            return False
        self._count += a.shape[0] * a.shape[2]
        self._total = self._total + a.sum(axis=(0, 2))
        self._squares = self._squares + np.square(a).sum(axis=(0, 2))
        self._errors.append(np.square(a - b).mean(axis=2))
        return True

    def result(self) -> tuple[float, float | None, int]:
        errors = np.concatenate(self._errors)
        mean = self._total / self._count
        variance = np.maximum(self._squares / self._count - np.square(mean), 0.0)
        floor = max(FLOOR * float(np.quantile(variance, QUIETER, method="lower")), TINY)
        relative = (errors / np.maximum(np.maximum(variance, floor), errors.mean(axis=0))).mean(axis=1)
        error = sqrt(float(relative.mean()))
        deviation = deviation_of(relative)
        return error, deviation / (2 * error) if deviation and error else deviation, len(relative)


def _by_channel(output: np.ndarray, axis: int | None) -> np.ndarray:
    """(samples, channels, rest) float64."""
    values = np.atleast_1d(output).astype(np.float64)
    if axis is None:
        return values.reshape(len(values), 1, -1)
    return np.moveaxis(values, axis, 1).reshape(len(values), values.shape[axis], -1)
