"""Weights from a small set of allowed values, chosen so that the error is small in the metric and not entry by entry.

    compensate_errors    columns are rounded one after another; the error of column j is made up for by the columns
                         still to come:

                             e_j = (w_j - q_j) / R_jj,   w_k -= e_j R_jk  (k > j),   R^T R = M^-1,  R upper triangular

    coordinate_descent   every entry in turn takes the allowed value that is best while the others stay: with the gap
                         D = (Q - W*) M, that is the value nearest to q_nj - D_nj / M_jj. The error never grows.

What is allowed may differ by row: `Nearest` maps a column (n,) to the nearest allowed values (n,).

Sources: Frantar et al. 2022, GPTQ, algorithm 1 (`compensate_errors`); Behdin et al. 2023, QuantEase, section 3
(`coordinate_descent`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from .fit import Array

Nearest = Callable[[Array], Array]
BLOCK = 32


def compensate_errors(weight: Array, metric: Array, nearest: Nearest) -> Array:
    """Allowed values (n, d) near `weight` (n, d) in `metric` (d, d), columns in the order of falling energy."""
    order = np.argsort(-np.diag(metric), kind="stable")
    factor = _inverse_factor(metric[np.ix_(order, order)])
    rest = weight[:, order].astype(np.float64)
    rounded = np.empty_like(rest)
    for start in range(0, rest.shape[1], BLOCK):
        columns = slice(start, start + BLOCK)
        rounded[:, columns], carried = _compensate_block(rest[:, columns], factor[columns, columns], nearest)
        rest[:, start + BLOCK :] -= carried @ factor[columns, start + BLOCK :]
    result = np.empty_like(rounded)
    result[:, order] = rounded
    return result


def coordinate_descent(weight: Array, start: Array, metric: Array, nearest: Nearest) -> Array:
    """`start` (n, d), of allowed values, after one sweep of coordinate descent towards `weight` (n, d)."""
    rounded = start.copy()
    gap = (rounded - weight) @ metric
    for first in range(0, weight.shape[1], BLOCK):
        columns = slice(first, first + BLOCK)
        moved = _descent_block(rounded[:, columns], gap[:, columns].copy(), metric[columns, columns], nearest)
        rounded[:, columns] += moved
        gap += moved @ metric[columns]
    return rounded


def _inverse_factor(metric: Array) -> Array:
    """Upper triangular R with R^T R = metric^-1."""
    # Reversed in rows and columns, the Cholesky factor of the metric is upper triangular, and its inverse is R.
    upper = cholesky(metric[::-1, ::-1], lower=True)[::-1, ::-1]
    return solve_triangular(upper, np.eye(len(metric)), lower=False)


def _compensate_block(rest: Array, factor: Array, nearest: Nearest) -> tuple[Array, Array]:
    """Allowed values of some columns, and the scaled errors that later columns must absorb. `rest` is used up."""
    rounded, carried = np.empty_like(rest), np.empty_like(rest)
    for j in range(rest.shape[1]):
        rounded[:, j] = nearest(rest[:, j])
        carried[:, j] = (rest[:, j] - rounded[:, j]) / factor[j, j]
        rest[:, j + 1 :] -= np.outer(carried[:, j], factor[j, j + 1 :])
    return rounded, carried


def _descent_block(values: Array, gap: Array, metric: Array, nearest: Nearest) -> Array:
    """The moves (n, b) of one block of columns; `gap` is used up."""
    moved: Array = np.zeros(values.shape)
    for j in range(values.shape[1]):
        moved[:, j] = nearest(values[:, j] - gap[:, j] / metric[j, j]) - values[:, j]
        gap += moved[:, j, None] * metric[j]
    return moved
