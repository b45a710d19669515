"""Weights from a small set of allowed values, chosen so that the error is small in the metric and not entry by entry.

    compensate_errors    columns are rounded one after another, each to what makes up best for the errors D = Q - W of
                         those before it, while those after it are free to do the same:

                             (Q - W) M (Q - W)^T = sum_j L_jj^2 (q_j - t_j)^2        M = L L^T
                             t_j = w_j - sum_{k before j} L_kj D_k / L_jj,   q_j = the allowed value nearest to t_j

                         where L is lower triangular in the reverse of that order, so that "before" is below.

    coordinate_descent   every entry in turn takes the allowed value that is best while the others stay: with the gap
                         D = (Q - W*) M, that is the value nearest to q_nj - D_nj / M_jj. The error never grows.

What is allowed may differ by row: `Nearest` maps a column (n,) to the nearest allowed values (n,).

The factor of M itself is all that is needed: errors carried forward by the factor of its inverse give the same values.

No layer is left out of `compensate_errors` because it would gain little there: of the processor time of `quantize` it
takes 1.7 % for EfficientNet-Lite0, 1.3 % for MobileNetV2, 1.1 % for YOLOX-nano, less for SqueezeNet, FastestDet and
DeepLab. It is 14 % for ResNet-18 (64 images), but a bound on the gain needs the factor, most of the work there.

Sources: Frantar et al. 2022, GPTQ, algorithm 1 (`compensate_errors`), here as Babai's nearest plane, see Chen et al.
2025, "The geometry of LLM quantization"; Behdin et al. 2023, QuantEase, section 3 (`coordinate_descent`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import cholesky

from .fit import Array

Nearest = Callable[[Array], Array]
BLOCK = 32
COMPENSATED = 128


def compensate_errors(weight: np.ndarray, metric: np.ndarray, nearest: Nearest) -> np.ndarray:
    """Allowed values (..., n, d) near `weight` (..., n, d) in `metric` (..., d, d), by the type of the metric.

    Columns go in the order of falling energy. Leading axes are those of groups, which are rounded at once: `nearest`
    gets a column (..., n) of all of them.
    """
    order = np.argsort(-np.diagonal(metric, axis1=-2, axis2=-1), axis=-1, kind="stable")[..., ::-1]
    upper = _transposed_factor(_ordered(metric, order))
    wanted = _rows_by(np.swapaxes(weight, -1, -2), order).astype(metric.dtype)
    errors, rounded = np.empty_like(wanted), np.empty_like(wanted)
    size = wanted.shape[-2]
    for stop in range(size, 0, -COMPENSATED):
        start = max(0, stop - COMPENSATED)
        scales = np.diagonal(upper, axis1=-2, axis2=-1)[..., start:stop, None]
        target = wanted[..., start:stop, :] - upper[..., start:stop, stop:] @ errors[..., stop:, :] / scales
        factor, rows = upper[..., start:stop, start:stop] / scales, np.s_[..., start:stop, :]
        _compensate_block(target, factor, nearest, wanted[rows], rounded[rows], errors[rows])
    result = np.empty_like(rounded)
    np.put_along_axis(result, order[..., None], rounded, axis=-2)
    return np.swapaxes(result, -1, -2)


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


def _rows_by(matrix: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.take_along_axis(matrix, order[..., None], axis=-2)


def _ordered(metric: np.ndarray, order: np.ndarray) -> np.ndarray:
    groups = np.indices(order.shape, sparse=True)[:-1]
    return metric[(*(axis[..., None] for axis in groups), order[..., :, None], order[..., None, :])]


def _transposed_factor(metric: np.ndarray) -> np.ndarray:
    """L^T, upper triangular, of `metric` = L L^T, which is used up; what is below its diagonal is not defined."""
    if metric.ndim > 2:
        return np.swapaxes(np.linalg.cholesky(metric), -1, -2)
    # The transposed view lies as LAPACK wants it, so that the factor takes the metric's place.
    return cholesky(metric.T, lower=True, overwrite_a=True, check_finite=False).T


def _compensate_block(
    target: np.ndarray,
    factor: np.ndarray,
    nearest: Nearest,
    wanted: np.ndarray,
    rounded: np.ndarray,
    errors: np.ndarray,
) -> None:
    """Round the rows of `target`, the last first, into `rounded`; `errors`: their distances from `wanted`."""
    for j in reversed(range(target.shape[-2])):
        carried = factor[..., j, None, j + 1 :] @ errors[..., j + 1 :, :]
        rounded[..., j, :] = nearest(target[..., j, :] - carried[..., 0, :])
        errors[..., j, :] = rounded[..., j, :] - wanted[..., j, :]


def _descent_block(values: Array, gap: Array, metric: Array, nearest: Nearest) -> Array:
    """The moves (n, b) of one block of columns; `gap` is used up."""
    moved: Array = np.zeros(values.shape)
    for j in range(values.shape[1]):
        moved[:, j] = nearest(values[:, j] - gap[:, j] / metric[j, j]) - values[:, j]
        gap += moved[:, j, None] * metric[j]
    return moved
