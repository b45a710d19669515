"""How far the outputs of a network are from those of the original, streamed over batches.

agreement      share of samples with the class that the original chooses: of several outputs the mean
pixels         share of positions with that class, the mean over samples
error          per output and channel c: e_c = E|a - b|^2 / var(a), 1 at most, a of the original, variance over samples
               and positions; of an output sqrt(mean_c e_c), of several outputs the mean

The variance that errors are relative to is that of the channel, so that boxes and scores in one tensor count alike, and
what is lost is lost. Channels that hardly move (classes that no sample shows) count against `FLOOR` of what the quieter
channels move, the lower quartile. Standard errors are over samples: of a share that
of a binomial, of means that of the samples' own values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Protocol

import numpy as np

from .outputs import Outputs, channel_axis, scores

FLOOR, QUIETER = 0.1, 0.25
TINY = 1e-30
Z = 1.645


@dataclass(frozen=True)
class Judged:
    """How good a network is.

    Attributes:
        metric: what was measured.
        value: of the network, in the metric's own units.
        loss: how much worse it is than the original: 0 where it is as good; what budgets bound.
        samples: that it was judged on, None where the metric does not say.
        deviation: the standard error of value and loss, None where it is not known.
        outputs: the loss of each output, where there are several.
        original: the value of the original, where the metric is not a comparison with it.
    """

    metric: str
    value: float
    loss: float
    samples: int | None = None
    deviation: float | None = None
    outputs: Mapping[str, float] = field(default_factory=dict[str, float])
    original: float | None = None

    @property
    def bound(self) -> float:
        """What the loss is at most, with 95 % confidence: of a share Wilson's limit (1927), else a normal one."""
        if self.metric == Agreement.metric and self.samples:
            return _wilson(self.loss, self.samples)
        return self.loss + Z * (self.deviation or 0.0)


class Comparison(Protocol):
    """Adds up what two networks say."""

    def add(self, reference: Outputs, other: Outputs) -> None:
        """The outputs of the original and of the other network for one batch."""
        ...

    def result(self) -> Judged: ...


class Agreement:
    """Of the chosen class, output by output."""

    metric = "agreement"

    def __init__(self) -> None:
        self._same: dict[str, list[np.ndarray]] = {}

    def add(self, reference: Outputs, other: Outputs) -> None:
        for name, value in reference.items():
            self._same.setdefault(name, []).append(_class_of(value) == _class_of(other[name]))

    def result(self) -> Judged:
        shares = {name: float(np.concatenate(same).mean()) for name, same in self._same.items()}
        count = sum(map(len, next(iter(self._same.values()))))
        value = float(np.mean(list(shares.values())))
        losses = {name: 1 - share for name, share in shares.items()} if len(shares) > 1 else {}
        return Judged(self.metric, value, 1 - value, count, _deviation_of_share(value, count), losses)


class PixelAgreement:
    """Of the class at every position."""

    metric = "pixels"

    def __init__(self) -> None:
        self._shares: list[np.ndarray] = []

    def add(self, reference: Outputs, other: Outputs) -> None:
        ((name, value),) = reference.items()
        same = _classes_of_map(value) == _classes_of_map(other[name])
        self._shares.append(same.reshape(len(same), -1).mean(axis=1))

    def result(self) -> Judged:
        shares = np.concatenate(self._shares)
        value = float(shares.mean())
        return Judged(self.metric, value, 1 - value, len(shares), _deviation(shares))


class Accuracy:
    """Of the class that a label names, in the first output; the loss is what the original has more."""

    metric = "accuracy"

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels
        self._right: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, reference: Outputs, other: Outputs) -> None:
        name = next(iter(reference))
        seen = sum(len(first) for first, _ in self._right)
        labels = self._labels[seen : seen + len(reference[name])]
        self._right.append((_class_of(reference[name]) == labels, _class_of(other[name]) == labels))

    def result(self) -> Judged:
        before, after = (np.concatenate(side) for side in zip(*self._right, strict=True))
        differ = max(float((before != after).mean()), 1 / len(after))
        was, value = float(before.mean()), float(after.mean())
        deviation = sqrt(differ / len(after))
        return Judged(self.metric, value, was - value, len(after), deviation, original=was)


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
        return error, _deviation(relative) / (2 * error) if error else 0.0, len(relative)


def _by_channel(output: np.ndarray) -> np.ndarray:
    """(samples, channels, rest) float64."""
    axis = channel_axis(output)
    if axis is None:
        return output.astype(np.float64).reshape(len(output), 1, -1)
    return np.moveaxis(output, axis, 1).astype(np.float64).reshape(len(output), output.shape[axis], -1)


def _class_of(output: np.ndarray) -> np.ndarray:
    return output.reshape(-1) if output.dtype.kind in "iu" else scores(output).argmax(axis=1)


def _classes_of_map(output: np.ndarray) -> np.ndarray:
    return output if output.dtype.kind in "iu" else output.argmax(axis=1)


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / sqrt(len(values))) if len(values) > 1 else float("nan")


def _deviation_of_share(share: float, count: int) -> float:
    """With two successes and two failures added, so that all of a few samples is not certainty (Agresti and Coull,
    1998)."""
    middle = (share * count + 2) / (count + 4)
    return sqrt(middle * (1 - middle) / (count + 4))


def _wilson(share: float, count: int) -> float:
    """The upper limit of a share seen in `count` samples."""
    middle = share + Z * Z / (2 * count)
    spread = Z * sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return (middle + spread) / (1 + Z * Z / count)
