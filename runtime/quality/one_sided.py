"""Whether a classifier says the same of nearly all samples: then they are not what it was trained on.

SqueezeNet 1.1 reads pixels of 0 to 255 less a mean. 64 pictures of as many classes, prepared with --preprocess imagenet
instead, are nearly grey to it: 56 get one class, and what was made of it agrees on that. Prepared as in training, the
commonest class has 2.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .comparison import Judged, chosen
from .outputs import Outputs, is_numbers, is_row, scores

CLASSES, SAMPLES, SHARE = 10, 32, 0.75
"""Of fewer classes, and on fewer samples, nothing is said; what is too much for one class."""


class CommonestClass:
    """Of the original, in the first output: `value` is the share of samples that it takes; 0 where nothing is said."""

    metric = "commonest class"

    def __init__(self) -> None:
        self._count: Counter[int] = Counter()
        self._classes = 0

    def add(self, reference: Outputs, other: Outputs) -> None:
        first = next(iter(reference.values()))
        if is_row(first) and not is_numbers(first):
            self._classes = scores(first).shape[1]
            numbers, counts = np.unique(chosen(first), return_counts=True)
            self._count.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))

    def result(self) -> Judged:
        samples = self._count.total()
        told = self._classes >= CLASSES and samples >= SAMPLES
        share = max(self._count.values()) / samples if told else 0.0
        return Judged(self.metric, share, 0.0, samples)
