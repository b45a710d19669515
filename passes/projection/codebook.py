"""Weights that share a few values: W[n, j] = s_n c[a(n, j)] with one codebook c (K,) and a scale per filter.

    minimise  sum_g tr((W_g - W*_g) M_g (W_g - W*_g)^T)        over c, s and the codes a

1. start      s_n: root mean square of filter n; c: one-dimensional k-means of W* / s, an entry weighing s_n^2 M_jj.
              It starts from quantiles of density^(1/3), which is where many levels end up (Panter & Dite 1951), and
              iterates on the sorted values, so that an iteration costs K log(n d). More than `MANY` values are first
              gathered in `BINS` bins. (Drawing some of them at random would cost more: with m values drawn the error
              grows by about K^2 / m of itself, as the centres hang together.)
2. codes      given c and s: error feedback, then coordinate descent           (`projection.error_compensation`)
3. codebook   given a and s: least squares                                                        (`projection.repeats`)
4. scales     given a and c: least squares

2 to 4 alternate; descent, least squares and scales never raise the error. In the identity metric step 1 is optimal for
its assignment, and the alternation is k-means itself.

Sources: Han, Mao and Dally, "Deep compression", ICLR 2016, section 3, for the shared values; the metric, the feedback
and the alternation are the project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .blocks import row_blocks
from .error_compensation import Nearest, compensate_errors, coordinate_descent
from .fit import Array, Fit
from .repeats import best_scales, best_values

Codes = NDArray[np.uint8]
LLOYD_STEPS = 200
SOLVER_STEPS, SOLVED = 12, 1e-3  # the codes move next, and the entries again: better solved is no better in the end
MANY, BINS, AT_ONCE = 2**18, 2**20, 2**22


@dataclass(frozen=True, eq=False)
class SharedValues:
    """One layer in shared values.

    Attributes:
        entries: c (K,), rising.
        codes: a (n, d) per group.
        scales: s (n,) per group; ones where filters are not scaled.
    """

    entries: Array
    codes: Sequence[Codes]
    scales: Sequence[Array]

    def dense(self) -> list[Array]:
        """W (n, d) per group."""
        parts = [(self.entries[a], s) for a, s in zip(self.codes, self.scales, strict=True)]
        return [np.multiply(values, s[:, None], out=values) for values, s in parts]

    def stored_in(self, dtype: np.dtype) -> SharedValues:
        """Entries and scales rounded to the precision of a file."""
        scales = [scale.astype(dtype).astype(np.float64) for scale in self.scales]
        return SharedValues(self.entries.astype(dtype).astype(np.float64), self.codes, scales)

    def lost(self, fits: Sequence[Fit]) -> float:
        return sum(fit.lost(weight) for fit, weight in zip(fits, self.dense(), strict=True))


def codebook(fits: Sequence[Fit], size: int, scaled: bool, rounds: int = 4) -> SharedValues:
    """At most `size` (<= 256) shared values for a layer; `scaled`: with a scale per filter.

    A layer that has no more than `size` different values is represented exactly where its filters are not scaled.
    """
    scales = [_filter_sizes(fit) if scaled else np.ones(len(fit.weight)) for fit in fits]
    best = _start(fits, scales, size)
    if all(fit.plain for fit in fits) and not scaled:
        return best
    current, least = _assign(fits, best, carried=True), best.lost(fits)
    for _ in range(rounds):
        current = _assign(fits, _resolve_scales(fits, _resolve_entries(fits, current), scaled), carried=False)
        lost = current.lost(fits)
        if lost < least:
            best, least = current, lost
    return best


def nearest_codes(values: Array, entries: Array) -> Codes:
    """The index of the nearest of the rising `entries`, for values of any shape."""
    return np.searchsorted((entries[1:] + entries[:-1]) / 2, values).astype(np.uint8)


def kmeans(values: Array, weights: Array, size: int) -> Array:
    """At most `size` rising centres of weighted values (n,), by Lloyd's iteration."""
    order = np.argsort(values)
    points, mass = values[order], weights[order]
    distinct = points[np.append(True, points[1:] > points[:-1])]
    if len(distinct) <= size:
        return distinct
    sums = np.append(0.0, np.cumsum(mass)), np.append(0.0, np.cumsum(mass * points))
    centres = _quantile_centres(points, mass, size)
    for _ in range(LLOYD_STEPS):
        moved = _means(points, sums, centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _start(fits: Sequence[Fit], scales: Sequence[Array], size: int) -> SharedValues:
    entries = _centres(fits, scales, size)
    return SharedValues(entries, [_codes(fit, s, entries) for fit, s in zip(fits, scales, strict=True)], scales)


def _codes(fit: Fit, scale: Array, entries: Array) -> Codes:
    """Those of the values nearest to W*, which are the best in the identity metric."""
    codes = np.empty(fit.weight.shape, np.uint8)
    for rows in row_blocks(codes):
        codes[rows] = nearest_codes(fit.weight[rows] / scale[rows, None], entries)
    return codes


def _centres(fits: Sequence[Fit], scales: Sequence[Array], size: int) -> Array:
    if sum(fit.weight.size for fit in fits) > MANY:
        points, mass = _gathered(fits, scales)
        if len(points) > size:
            return kmeans(points, mass, size)
    parts = [_points(fit, s, slice(0, len(s))) for fit, s in zip(fits, scales, strict=True)]
    values, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return kmeans(values, weights, size)


def _points(fit: Fit, scale: Array, rows: slice) -> tuple[Array, Array]:
    """Some rows of W* / s, and the weights of their errors."""
    values = fit.weight[rows] / scale[rows, None]
    return values.ravel(), np.outer(scale[rows] ** 2, fit.diagonal).ravel()


def _gathered(fits: Sequence[Fit], scales: Sequence[Array]) -> tuple[Array, Array]:
    """The mean and the weight of the values in each of `BINS` bins that holds some."""
    parts = list(zip(fits, scales, strict=True))
    low = min(float((fit.weight.min(axis=1) / s).min()) for fit, s in parts)
    high = max(float((fit.weight.max(axis=1) / s).max()) for fit, s in parts)
    width = (high - low) / BINS or 1.0
    mass, sums = np.zeros(BINS), np.zeros(BINS)
    for fit, s in parts:
        for rows in row_blocks(fit.weight, AT_ONCE):
            values, weights = _points(fit, s, rows)
            bins = np.minimum((values - low) / width, BINS - 1).astype(np.intp)
            mass += np.bincount(bins, weights, BINS)
            sums += np.bincount(bins, weights * values, BINS)
    held = mass > 0
    return sums[held] / mass[held], mass[held]


def _filter_sizes(fit: Fit) -> Array:
    """Root mean square of every filter; 1 for a filter of zeros."""
    size = np.sqrt(np.mean(fit.weight**2, axis=1))
    return np.where(size > 0, size, 1.0)


def _quantile_centres(points: Array, mass: Array, size: int) -> Array:
    """Centres at equal steps of the integral of density^(1/3), estimated on a histogram."""
    counts, edges = np.histogram(points, bins=16 * size, weights=mass)
    reached = np.append(0.0, np.cumsum(np.cbrt(counts)))
    wanted: Array = (np.arange(size) + 0.5) / size * reached[-1]
    return np.interp(wanted, reached, edges)


def _means(points: Array, sums: tuple[Array, Array], centres: Array) -> Array:
    """The mean of the points nearest to each centre; a centre without points stays."""
    cuts = np.searchsorted(points, (centres[1:] + centres[:-1]) / 2)
    bounds = np.concatenate(([0], cuts, [len(points)]))
    mass, first = (np.diff(total[bounds]) for total in sums)
    return np.sort(np.divide(first, mass, out=centres.copy(), where=mass > 0))


def _assign(fits: Sequence[Fit], shared: SharedValues, carried: bool) -> SharedValues:
    """New codes for the given entries and scales: with error feedback, or by descent from the codes that are there."""
    codes: list[Codes] = []
    for fit, scale, start in zip(fits, shared.scales, shared.dense(), strict=True):
        if fit.plain:
            codes.append(_codes(fit, scale, shared.entries))
            continue
        nearest = _nearest(shared.entries, scale)
        rounded = compensate_errors(fit.weight, fit.metric, nearest) if carried else start
        rounded = coordinate_descent(fit.weight, rounded, fit.metric, nearest)
        codes.append(nearest_codes(rounded / scale[:, None], shared.entries))
    return SharedValues(shared.entries, codes, shared.scales)


def _nearest(entries: Array, scale: Array) -> Nearest:
    return lambda column: scale * entries[nearest_codes(column / scale, entries)]


def _resolve_entries(fits: Sequence[Fit], shared: SharedValues) -> SharedValues:
    entries = best_values(fits, shared.codes, shared.scales, shared.entries, SOLVER_STEPS, SOLVED)
    return _sorted(entries, shared)


def _sorted(entries: Array, shared: SharedValues) -> SharedValues:
    order = np.argsort(entries, kind="stable")
    place = np.argsort(order, kind="stable").astype(np.uint8)
    return SharedValues(entries[order], [place[a] for a in shared.codes], shared.scales)


def _resolve_scales(fits: Sequence[Fit], shared: SharedValues, scaled: bool) -> SharedValues:
    if not scaled:
        return shared
    parts = zip(fits, shared.codes, shared.scales, strict=True)
    scales = [(best_scales(fit, shared.entries[a], s), s) for fit, a, s in parts]
    return SharedValues(shared.entries, shared.codes, [np.where(best > 0, best, s) for best, s in scales])


def table_sizes(counts: Sequence[int], most: int, share: float, least: int = 32) -> list[int]:
    """Entries per layer: at most `most`, and all codebooks together at most `share` of the indices' bytes.

    The error of a codebook of K entries falls with 1 / K^2. The smallest sum of n / K^2 under a limit on the sum of K
    has K in proportion to n^(1/3). No layer gets fewer than `least` entries (or `most`, if that is less).
    """
    roots, budget = np.cbrt(counts), share * sum(counts) / 4

    def sizes(factor: float) -> Array:
        return np.clip(np.floor(factor * roots), min(least, most), most)

    low, high = 0.0, float(most)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if sizes(middle).sum() <= budget else (low, middle)
    return [int(size) for size in sizes(low if sizes(high).sum() > budget else high)]
