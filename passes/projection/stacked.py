"""`fit.best_fit` for all groups of a layer in one go: those of a depthwise layer are hundreds, of few inputs each.

Where the moments of a group leave its metric indefinite, and where groups are large or one, they are fitted one by one.
"""

from __future__ import annotations

import numpy as np

from .fit import Array, Fit, best_fit, least_pull

SMALL = 64
"""Inputs of a group, up to which a stack of solutions is faster than one after the other."""


def best_fits(xx: Array, yx: Array, power: Array, stored: Array, ridge: float, own: bool = False) -> list[Fit]:
    """One for each group: xx (g, d + 1, d + 1), yx (g, n, d + 1), power (g,), stored (g, n, d); else as `best_fit`."""
    if len(xx) > 1 and stored.shape[2] <= SMALL:
        try:
            return _stacked(xx, yx, power, stored, ridge, own)
        except np.linalg.LinAlgError:
            pass
    groups = zip(xx, yx, power, stored, strict=True)
    return [best_fit(*group, ridge, own) for group in groups]


def _stacked(xx: Array, yx: Array, power: Array, stored: Array, ridge: float, own: bool) -> list[Fit]:
    mean_x, mean_y = xx[:, -1, :-1], yx[:, :, -1]
    cross, metric = yx[:, :, :-1] - _outer(mean_y, mean_x), xx[:, :-1, :-1] - _outer(mean_x, mean_x)
    traces = np.trace(xx[:, :-1, :-1], axis1=1, axis2=2), np.trace(metric, axis1=1, axis2=2)
    pull = least_pull(ridge, *traces, stored.shape[2])[:, None, None]
    metric += pull * np.eye(stored.shape[2])
    np.linalg.cholesky(metric)  # raises where one of them is not positive definite
    rhs = cross + pull * stored
    signal = power - np.square(mean_y).sum(axis=1)
    weight, residual = stored.astype(np.float64), np.zeros(len(xx))
    if not own:
        weight = np.linalg.solve(metric, rhs.transpose(0, 2, 1)).transpose(0, 2, 1)
        residual = np.maximum(0.0, signal - (weight * (cross + pull * (weight - stored))).sum(axis=(1, 2)))
    numbers = zip(signal.tolist(), residual.tolist(), rhs, strict=True)
    arrays = zip(weight, metric, mean_x, mean_y, numbers, strict=True)
    return [Fit(w, m, x, y, *rest) for w, m, x, y, rest in arrays]


def _outer(left: Array, right: Array) -> Array:
    """Of every group."""
    return left[:, :, None] * right[:, None]
