"""Filters that are overlapping segments of one vector: W[n, j] = s_n F[(l_n + j) mod L]     (FSNet's filter summary)

1. even       l_n = floor(n L / N): neighbours overlap by d - L / N. (The released code steps by L / (N - 1); then the
              first and the last filter are the same segment.)
2. F given l  least squares in the metric (`projection.repeats`). In the identity metric, without scales, that is the
              scatter-mean F[i] = mean of the W*[n, j] with (l_n + j) mod L = i.
3. l given F  every filter takes the start with the smallest error. In the metric M a segment q explains
              (q M w*)^2 / (q M q) of w* with the best scale, and 2 q M w* - q M q without. All starts are tried up to
              `CANDIDATES`, otherwise that many at even distances.

4. fractions  a segment may start between two elements: (1 - t) F[l_n + j] + t F[l_n + j + 1]. Along the lines to the
              two neighbours of a start, the t of 0 ... 1 with the smallest error; then the scale once more.

2 and 3 alternate from the even starts; neither raises the error, and no more does 4. The error is differentiable in t:
training can move the segments.

Source: Yang et al., "FSNet: compression of deep convolutional neural networks by filter summary", ICLR 2020
(arXiv 1902.03264), fractional starts as in its differentiable search. The paper trains F from scratch; fitting it to a
trained network is the project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .fit import Array, Fit
from .repeats import best_scales, best_values

Starts = NDArray[np.int64]
CANDIDATES, STEPS, ROUNDS = 2048, 20, 3


@dataclass(frozen=True, eq=False)
class Summary:
    """One layer as segments of a vector.

    Attributes:
        vector: F (L,).
        starts: l (n,) per group, below L.
        scales: s (n,) per group; ones where filters are not scaled.
        width: d, the length of a filter.
        fractions: t (n,) per group; None where segments start at elements.
    """

    vector: Array
    starts: Sequence[Starts]
    scales: Sequence[Array]
    width: int
    fractions: Sequence[Array] | None = None

    def indices(self) -> list[Starts]:
        """Which element of F each weight is, its fraction aside: (n, d) per group."""
        return [(starts[:, None] + np.arange(self.width)) % len(self.vector) for starts in self.starts]

    def units(self) -> list[Array]:
        """The segments before they are scaled: (n, d) per group."""
        here = [self.vector[i] for i in self.indices()]
        if self.fractions is None:
            return here
        ahead = np.roll(self.vector, -1)
        parts = zip(here, self.indices(), self.fractions, strict=True)
        return [unit + t[:, None] * (ahead[i] - unit) for unit, i, t in parts]

    def dense(self) -> list[Array]:
        """W (n, d) per group."""
        return [s[:, None] * unit for unit, s in zip(self.units(), self.scales, strict=True)]

    def lost(self, fits: Sequence[Fit]) -> float:
        return sum(fit.lost(weight) for fit, weight in zip(fits, self.dense(), strict=True))


def summary_length(filters: int, width: int, ratio: float) -> int:
    """L = N d / ratio, but at least one filter long."""
    return max(width, int(filters * width / ratio))


def even_summary(fits: Sequence[Fit], length: int, scaled: bool) -> Summary:
    """Starts at even steps, the vector fitted to them."""
    counts = [len(fit.weight) for fit in fits]
    starts = np.arange(sum(counts)) * length // sum(counts)
    split = np.split(starts, np.cumsum(counts)[:-1])
    width = fits[0].weight.shape[1]
    first = Summary(np.zeros(length), split, [np.ones(count) for count in counts], width)
    fitted = _with_vector(fits, replace(first, vector=_scatter_mean(fits, first)))
    for _ in range(3 if scaled else 0):
        fitted = _with_vector(fits, _with_scales(fits, fitted))
    return fitted


def fit_starts(fits: Sequence[Fit], even: Summary, scaled: bool, rounds: int = ROUNDS) -> Summary:
    """Starts by search, from an even summary; never worse than that."""
    best = current = even
    for _ in range(rounds):
        current = _with_vector(fits, _with_starts(fits, current, scaled))
        if scaled:
            current = _with_vector(fits, _with_scales(fits, current))
        if current.lost(fits) >= best.lost(fits) * (1 - 1e-3):
            break
        best = current
    return best


def fit_fractions(fits: Sequence[Fit], summary: Summary, scaled: bool) -> Summary:
    """Every filter of a summary without fractions moved by less than one element; never worse than that."""
    parts = zip(fits, summary.starts, summary.scales, strict=True)
    starts, fractions = zip(*(_between(fit, first, scales, summary) for fit, first, scales in parts), strict=True)
    between = replace(summary, starts=starts, fractions=fractions)
    return _with_scales(fits, between) if scaled else between


def linear_bytes(vector: Array) -> tuple[NDArray[np.uint8], float, float]:
    """(codes q (L,), step, low): F = step q + low, from the smallest element to the largest."""
    low, high = float(vector.min()), float(vector.max())
    step = max((high - low) / 255, 1e-12)
    return np.clip(np.rint((vector - low) / step), 0, 255).astype(np.uint8), step, low


def _scatter_mean(fits: Sequence[Fit], summary: Summary) -> Array:
    indices = np.concatenate([i.ravel() for i in summary.indices()])
    sums = np.bincount(indices, np.concatenate([fit.weight.ravel() for fit in fits]), len(summary.vector))
    return sums / np.maximum(np.bincount(indices, minlength=len(summary.vector)), 1)


def _with_vector(fits: Sequence[Fit], summary: Summary) -> Summary:
    vector = best_values(fits, summary.indices(), summary.scales, summary.vector, STEPS)
    return replace(summary, vector=vector)


def _with_scales(fits: Sequence[Fit], summary: Summary) -> Summary:
    parts = zip(fits, summary.units(), summary.scales, strict=True)
    scales = [best_scales(fit, unit, s) for fit, unit, s in parts]
    return replace(summary, scales=scales)


def _with_starts(fits: Sequence[Fit], summary: Summary, scaled: bool) -> Summary:
    length = len(summary.vector)
    candidates = np.unique(np.arange(min(length, CANDIDATES)) * length // min(length, CANDIDATES))
    segments = summary.vector[(candidates[:, None] + np.arange(summary.width)) % length]
    parts = [
        _best_starts(fit, segments, candidates, starts, summary, scaled)
        for fit, starts in zip(fits, summary.starts, strict=True)
    ]
    starts, scales = zip(*parts, strict=True)
    return replace(summary, starts=starts, scales=scales)


def _best_starts(
    fit: Fit, segments: Array, candidates: Starts, held: Starts, summary: Summary, scaled: bool
) -> tuple[Starts, Array]:
    """The best start of each filter of a group, the one it holds included, with its scale."""
    own = summary.vector[(held[:, None] + np.arange(summary.width)) % len(summary.vector)]
    wanted = fit.wanted
    overlap: Array = segments @ wanted.T
    energy: Array = np.sum(fit.pulled(segments) * segments, axis=1)[:, None]
    own_overlap: Array = np.sum(own * wanted, axis=1)
    own_energy: Array = np.sum(fit.pulled(own) * own, axis=1)
    gains, own_gains = _gain(overlap, energy, scaled), _gain(own_overlap, own_energy, scaled)
    chosen, every = np.argmax(gains, axis=0), np.arange(len(held))
    better = gains[chosen, every] > own_gains
    starts = np.where(better, candidates[chosen], held)
    if not scaled:
        return starts, np.ones(len(held))
    top = np.where(better, overlap[chosen, every], own_overlap)
    bottom: Array = np.where(better, energy[chosen, 0], own_energy)
    return starts, _ratio(top, bottom)


def _between(fit: Fit, starts: Starts, scales: Array, summary: Summary) -> tuple[Starts, Array]:
    """The start and fraction (n,) of each filter of a group, on one side of the start it has or the other."""
    before = (starts - 1) % len(summary.vector)
    t, lost = _fraction(fit, starts, scales, summary)
    earlier, lost_earlier = _fraction(fit, before, scales, summary)
    return np.where(lost_earlier < lost, before, starts), np.where(lost_earlier < lost, earlier, t)


def _fraction(fit: Fit, starts: Starts, scales: Array, summary: Summary) -> tuple[Array, Array]:
    """The best t (n,) from these starts on, and the error of each filter there."""
    here, ahead = (replace(summary, starts=[first]).units()[0] for first in (starts, starts + 1))
    slope, missing = scales[:, None] * (ahead - here), fit.weight - scales[:, None] * here
    pull, energy = np.sum(fit.pulled(slope) * missing, axis=1), np.sum(fit.pulled(slope) * slope, axis=1)
    t = np.clip(_ratio(pull, energy), 0, 1)
    left = missing - t[:, None] * slope
    return t, np.sum(fit.pulled(left) * left, axis=1)


def _gain(overlap: Array, energy: Array, scaled: bool) -> Array:
    """What a segment explains of a filter."""
    return _ratio(overlap**2, energy) if scaled else 2 * overlap - energy


def _ratio(top: Array, bottom: Array) -> Array:
    return top / np.maximum(bottom, 1e-300)
