"""How far the outputs of a network are from those of the original, as numbers; streamed over batches.

error          per output and channel c: e_c = E|a - b|^2 / var(a), 1 at most, a of the original, variance over samples
               and positions; of an output sqrt(mean_c e_c), of several outputs the mean
relative       ||a - b|| / ||a|| over all outputs of all samples
divergence     T^2 KL(softmax(a / T) || softmax(b / T)) of the first output's class scores, the mean over samples

The variance that errors are relative to is that of the channel, so that boxes and scores in one tensor count alike, and
what is lost is lost. Channels that hardly move (classes that no sample shows) count against `FLOOR` of what the quieter
channels move, the lower quartile.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from scipy.special import log_softmax

from .comparison import Judged, deviation_of
from .outputs import Outputs, channel_axis, scores

FLOOR, QUIETER = 0.1, 0.25
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
        deviation = sqrt(sum(each**2 for _, each, _ in found.values())) / len(found)
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
            a, b = (side.astype(np.float64) for side in (value, other[name]))
            self._distance += float(np.square(a - b).sum())
            self._energy += float(np.square(a).sum())

    def result(self) -> Judged:
        nothing = 0.0 if self._distance == 0 else float("inf")
        value = sqrt(self._distance / self._energy) if self._energy else nothing
        return Judged(self.metric, value, value)


class Divergence:
    """Of the class scores in the first output, softened by a temperature T."""

    metric = "divergence"

    def __init__(self, temperature: float = 1.0) -> None:
        self._temperature = temperature
        self._found: list[np.ndarray] = []

    def add(self, reference: Outputs, other: Outputs) -> None:
        name = next(iter(reference))
        self._found.append(kullback_leibler(scores(reference[name]), scores(other[name]), self._temperature))

    def result(self) -> Judged:
        found = np.concatenate(self._found)
        value = float(found.mean())
        return Judged(self.metric, value, value, len(found), deviation_of(found))


def kullback_leibler(a: np.ndarray, b: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """T^2 KL(softmax(a / T) || softmax(b / T)) per row of (N, classes): (N,) float64."""
    p, q = (log_softmax(rows.astype(np.float64) / temperature, axis=1) for rows in (a, b))
    return temperature**2 * np.sum(np.exp(p) * (p - q), axis=1)


class _OutputError:
    """Sums by channel, and the squared errors of every sample."""

    def __init__(self) -> None:
        self._count = 0
        self._total: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0
        self._errors: list[np.ndarray] = []

    def add(self, reference: np.ndarray, other: np.ndarray) -> None:
        a, b = (_by_channel(value) for value in (reference, other))
        self._count += a.shape[0] * a.shape[2]
        self._total = self._total + a.sum(axis=(0, 2))
        self._squares = self._squares + np.square(a).sum(axis=(0, 2))
        self._errors.append(np.square(a - b).mean(axis=2))

    def result(self) -> tuple[float, float, int]:
        """Error, its standard error, samples."""
        errors = np.concatenate(self._errors)
        mean = self._total / self._count
        variance = np.maximum(self._squares / self._count - np.square(mean), 0.0)
        floor = max(FLOOR * float(np.quantile(variance, QUIETER, method="lower")), TINY)
        relative = (errors / np.maximum(np.maximum(variance, floor), errors.mean(axis=0))).mean(axis=1)
        error = sqrt(float(relative.mean()))
        return error, deviation_of(relative) / (2 * error) if error else 0.0, len(relative)


def _by_channel(output: np.ndarray) -> np.ndarray:
    """(samples, channels, rest) float64."""
    axis = channel_axis(output)
    if axis is None:
        return output.astype(np.float64).reshape(len(np.atleast_1d(output)), 1, -1)
    return np.moveaxis(output, axis, 1).astype(np.float64).reshape(len(output), output.shape[axis], -1)
