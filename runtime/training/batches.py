"""Training batches: samples in a new order every epoch, augmented, with what the original network says of them.

Samples of several shapes make batches of one shape each, in a new order, too. Of a shape with fewer samples than a
batch has, all are one batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...compiler.pipeline.data import Data, Feeds
from ..session import Session
from .augment import Augment, augmented
from .parts import parted

SHIFTS, ORDER = 1, 2  # streams of random numbers


@dataclass
class TeacherBatches:
    """See `loop.Batches`.

    Attributes:
        data: the samples; `rows` of them are trained on.
        size: at most so many samples per batch; what is left of a shape in an epoch is dropped.
        teacher: the original network, run on each batch as augmented; its outputs go in under `names`.
        parts: the teacher takes so many parts of a batch one by one.
        labels: class by sample, fed one-hot as `labels_name`; None feeds none.
    """

    data: Data
    rows: np.ndarray
    size: int
    teacher: Session | None
    names: Mapping[str, str]
    augment: Augment = "none"
    seed: int = 0
    parts: int = 1
    labels: np.ndarray | None = None
    labels_name: str = ""
    classes: int = 0

    @property
    def steps(self) -> int:
        return len(self._batches(0))

    def batch(self, epoch: int, step: int) -> Feeds:
        chosen = self._batches(epoch)[step]
        rng = np.random.default_rng((self.seed, SHIFTS, epoch, step))
        feeds = {name: augmented(values, self.augment, rng) for name, values in self.data.take(chosen).items()}
        return {**feeds, **self._teacher(feeds), **self._labels(chosen)}

    def _batches(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch."""
        rng = np.random.default_rng((self.seed, ORDER, epoch))
        groups = rows_by_shape(self.data, self.rows)
        batches = [batch for group in groups for batch in _whole(rng.permutation(group), self.size)]
        return batches if len(groups) == 1 else [batches[index] for index in rng.permutation(len(batches))]

    def _teacher(self, feeds: Feeds) -> Feeds:
        if self.teacher is None or not self.names:
            return {}
        found = [self.teacher.run(part) for part in parted(feeds, self.parts)]
        return {fed: _joined([values[name] for values in found]) for name, fed in self.names.items()}

    def _labels(self, chosen: np.ndarray) -> Feeds:
        if self.labels is None or not self.labels_name:
            return {}
        return {self.labels_name: np.eye(self.classes, dtype=np.float32)[self.labels[chosen]]}


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def rows_by_shape(data: Data, rows: np.ndarray) -> list[np.ndarray]:
    """`rows`, in order, those of one shape together."""
    if data.shapes is None:
        return [rows]
    shapes = data.shapes[rows]
    return [rows[shapes == shape] for shape in np.unique(shapes)]


def _whole(rows: np.ndarray, size: int) -> list[np.ndarray]:
    most = min(size, len(rows))
    return [rows[start : start + most] for start in range(0, len(rows) - most + 1, most)]


def split_rows(samples: int, held: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and `held` rows to judge on, evenly spaced: samples may be sorted."""
    judged = (np.arange(held) * samples) // held + samples // (2 * held)
    return np.setdiff1d(np.arange(samples), judged), judged
