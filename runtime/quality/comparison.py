"""How far the outputs of a network are from those of the original, streamed over batches.

agreement      share of samples with the class that the original chooses: of several outputs the mean
pixels         share of positions with that class, the mean over samples
accuracy       share of samples with the class that a label names, or with that among the k most likely

Standard errors are over samples: of a share that of a binomial, of means that of the samples' own values. How far
outputs are apart that choose nothing: `distances`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Protocol

import numpy as np

from ...compiler.errors import CompressError
from .outputs import Outputs, is_numbers, is_row, scores

Z = 1.645
WORST = 2.0
"""How many times what all outputs may lose, on the mean, one of them may."""


@dataclass(frozen=True)
class Judged:
    """How good a network is.

    Attributes:
        metric: what was measured.
        value: of the network, in the metric's own units.
        loss: how much worse it is than the original: 0 where it is as good.
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
    def held(self) -> float:
        """What budgets hold: the loss, or that of the worst output where it is more than `WORST` times as large."""
        return max([self.loss, *(loss / WORST for loss in self.outputs.values())])

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
            self._same.setdefault(name, []).append(chosen(value) == chosen(other[name]))

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
        same = chosen(value) == chosen(other[name])
        self._shares.append(same.reshape(len(same), -1).mean(axis=1))

    def result(self) -> Judged:
        shares = np.concatenate(self._shares)
        value = float(shares.mean())
        return Judged(self.metric, value, 1 - value, len(shares), deviation_of(shares))


class Accuracy:
    """Of the class that a label names, in the first output; the loss is what the original has more.

    Args:
        labels: (samples,) int.
        among: how many classes may be named: with 5 the label has to be among the five most likely.

    Attributes:
        classes: how many the scores tell apart; 0 of class numbers.
    """

    metric = "accuracy"

    def __init__(self, labels: np.ndarray, among: int = 1) -> None:
        self._labels, self._among, self.classes = labels, among, 0
        self._right: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, reference: Outputs, other: Outputs) -> None:
        name = next(iter(reference))
        seen = sum(len(first) for first, _ in self._right)
        labels = self._labels[seen : seen + len(reference[name])]
        self._right.append((self._hits(reference[name], labels), self._hits(other[name], labels)))

    def _hits(self, output: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if is_numbers(output):
            return chosen(output) == labels
        rows = scores(output)
        self.classes = rows.shape[1]
        if labels.max(initial=0) >= self.classes:
            what = f"expected labels 0 to {self.classes - 1}, found {labels.max()}"
            raise CompressError(what, "--labels", "number from 0")
        if self._among == 1:
            return rows.argmax(axis=1) == labels
        if self._among >= self.classes:
            return np.ones(len(rows), bool)
        return (np.argpartition(-rows, self._among - 1, axis=1)[:, : self._among] == labels[:, None]).any(axis=1)

    def result(self) -> Judged:
        before, after = (np.concatenate(side) for side in zip(*self._right, strict=True))
        differ = max(float((before != after).mean()), 1 / len(after))
        was, value = float(before.mean()), float(after.mean())
        deviation = sqrt(differ / len(after))
        return Judged(self.metric, value, was - value, len(after), deviation, original=was)


def chosen(output: np.ndarray) -> np.ndarray:
    """The class of every sample, (N,), or of every position of a map, (N, H, W)."""
    if is_numbers(output):
        return output.reshape(-1) if is_row(output) else output
    return (scores(output) if is_row(output) else output).argmax(axis=1)


def deviation_of(values: np.ndarray) -> float | None:
    """The standard error of the mean of values (samples,); None of a single one."""
    return float(values.std(ddof=1) / sqrt(len(values))) if len(values) > 1 else None


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
