"""Least squares for weights that repeat values: W[n, j] = s_n f[i(n, j)].

    min_f  sum_g tr((W_g - W*_g) M_g (W_g - W*_g)^T)

With the indices i and the scales s given this is linear in f. Its normal equations are solved by conjugate gradients:
the operator gathers f into W, multiplies by M, and adds up what belongs to each value, so no large matrix is formed.

    scales    given f and i: s_n = (w*_n M q_n) / (q_n M q_n) with q_n = f[i(n)]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg

from .fit import Array, Fit

Indices = NDArray[np.integer]


def best_values(
    fits: Sequence[Fit],
    indices: Sequence[Indices],
    scales: Sequence[Array],
    start: Array,
    steps: int,
    tolerance: float = 1e-7,
) -> Array:
    """f (K,) after at most `steps` iterations from `start`; values that no weight uses stay as they are.

    Args:
        indices: i (n, d) per group, below K.
        scales: s (n,) per group.
        tolerance: a residual that is left, relative to the right-hand side.
    """
    parts = list(zip(fits, indices, scales, strict=True))

    def collect(pulled: Iterable[Array]) -> Array:
        total = np.zeros(len(start))
        for values, (_, i, s) in zip(pulled, parts, strict=True):
            total += np.bincount(i.ravel(), (values * s[:, None]).ravel(), len(start))
        return total

    def apply(values: Array) -> Array:
        return collect(fit.pulled(s[:, None] * values.ravel()[i]) for fit, i, s in parts)

    operator = LinearOperator((len(start), len(start)), matvec=apply, dtype=np.float64)
    solved, _ = cg(operator, collect(fit.wanted for fit in fits), x0=start, maxiter=steps, rtol=tolerance)
    return solved


def best_scales(fit: Fit, unit: Array, stored: Array) -> Array:
    """The best scale (n,) per filter of `unit` (n, d); the stored one where `unit` has no energy or no overlap."""
    weighted = fit.pulled(unit)
    energy, overlap = np.sum(weighted * unit, axis=1), np.sum(weighted * fit.weight, axis=1)
    return np.where((energy > 0) & (overlap != 0), overlap / np.maximum(energy, 1e-300), stored)
