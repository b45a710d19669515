"""Where to clip a tensor: the threshold T of a grid of 256 values, from a histogram of |x|.

    symmetric    step s = T / 127                        from -128 s to T
    zero point   step s = (T - B) / 255                  from B = max(low, -T) to T    low: the least x, at most 0

    minmax       T = max |x|
    percentile   T = the value that a fraction p of |x| does not exceed
    mse          T = argmin sum_b n_b (c_b - Q_T(c_b))^2        Q_T: rounding to the grid of step s, clipped at T
    entropy      T = argmin KL(P_T || Q_T)                      P_T: the histogram up to T, the tail in its last bin
                 Q_T: P_T without the tail in equal levels, each spread evenly over its non-empty bins

n_b, c_b: count and centre of bin b. There are as many levels as the grid has from 0 to T, 128 where it is symmetric.
The bin at zero is left out of the entropy (a ReLU fills it, and it is exact).

Source of `entropy`: Migacz, "8-bit inference with TensorRT", GTC 2017, slides 38-45; Wu et al. 2020, "Integer
quantization for deep learning inference", section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from .grid import CODES, HIGH

Method = Literal["minmax", "percentile", "mse", "entropy"]
Step = Callable[[float], float]
"""Of T: the step of the grid."""
CANDIDATES = 120


def symmetric(top: float) -> float:
    return top / HIGH


def with_zero_point(low: float) -> Step:
    """`low`: the least x, at most 0."""
    return lambda top: (top - bottom(low, top)) / CODES


def bottom(low: float, top: float) -> float:
    """B."""
    return max(low, -top)


def threshold(
    counts: np.ndarray,
    width: float,
    peak: float,
    method: Method,
    percentile: float = 99.99,
    step: Step = symmetric,
) -> float:
    """T for `counts` (bins,) of |x| in bins of `width`, with `peak` = max |x|; 0 for a tensor of zeros."""
    if method == "minmax" or peak <= 0.0:
        return peak
    used = counts[: int(peak / width) + 1].astype(np.float64)
    if method == "percentile":
        return min(peak, width * _quantile_bin(used, percentile))
    if method == "mse":
        return _least_squares(used, width, peak, step)
    return min(peak, width * _least_divergence(used, round(peak / step(peak)) + 1))


def _quantile_bin(counts: np.ndarray, percentile: float) -> int:
    reached = np.cumsum(counts) >= counts.sum() * percentile / 100
    return int(np.argmax(reached)) + 1


def _least_squares(counts: np.ndarray, width: float, peak: float, step: Step) -> float:
    centres = (np.arange(len(counts)) + 0.5) * width
    tops = peak * np.geomspace(0.05, 1.0, CANDIDATES)
    return float(tops[np.argmin([counts @ _rounding_error(centres, top, step(top)) ** 2 for top in tops])])


def _rounding_error(values: np.ndarray, top: float, step: float) -> np.ndarray:
    return values - step * np.minimum(np.rint(values / step), round(top / step))


def _least_divergence(counts: np.ndarray, levels: int) -> int:
    """The number of bins to keep."""
    if len(counts) <= levels:
        return len(counts)
    counts = counts.copy()
    counts[0] = 0.0
    keeps = np.unique(np.linspace(levels, len(counts), CANDIDATES).astype(int))
    return int(keeps[np.argmin([_divergence(counts, int(keep), levels) for keep in keeps])])


def _divergence(counts: np.ndarray, keep: int, levels: int) -> float:
    inside = counts[:keep]
    wanted = inside.copy()
    wanted[-1] += counts[keep:].sum()
    starts = np.arange(levels) * keep // levels
    filled = inside > 0
    mass, bins = np.add.reduceat(inside, starts), np.add.reduceat(filled.astype(np.float64), starts)
    spread = np.repeat(mass / np.maximum(bins, 1.0), np.diff(starts, append=keep)) * filled
    if not spread.any():
        return float("inf")
    p: np.ndarray = wanted / wanted.sum()
    q: np.ndarray = spread / spread.sum()
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))))
