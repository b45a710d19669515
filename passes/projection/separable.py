"""Separable weights: a K x 1 convolution to R channels, then a 1 x K convolution (Jaderberg et al., 2014, scheme 2).

    W[n, c, i, j] = sum_r H[n, r, j] V[r, c, i]          V (R, c, kh), H (n, R, kw)

Without a metric this is a rank-R matrix (c kh x n kw), solved by SVD. In the metric M it has no closed form, but
each factor alone is a least-squares problem:

    H given V: the features z = T(V) x have moments T M T^T and W* M T^T, so H = (W* M T^T)(T M T^T)^-1;
    V given H: the normal equations A(V) = b, by conjugate gradients; A is applied through M without being formed.

`separable` starts from the SVD in the metric averaged over j, (1/kw) sum_j M[., j, ., j], and alternates.
The curve uses the start alone: with the features of V ordered by singular value, one Cholesky factorization of T M T^T
gives the energy that each prefix of them explains.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, eigh, solve_triangular
from scipy.sparse.linalg import LinearOperator, cg

from .fit import Array, Fit

Shape = tuple[int, int, int]


def separable_limit(outputs: int, shape: Shape) -> int:
    """The rank at which every weight (n; c, kh, kw) is separable."""
    channels, height, width = shape
    return min(outputs * width, channels * height)


def separable_curve(fit: Fit, shape: Shape, largest: int) -> Array:
    """Lost energy at rank 0, 1, ..., `largest` (at most `separable_limit`) of the start: an upper bound."""
    if fit.plain:
        energies = np.maximum(_eigen(_rearranged(fit, shape))[0], 0.0)
        return np.sum(energies) - np.append(0.0, np.cumsum(energies[::-1]))[: largest + 1]
    rows = _start(fit, shape)[:largest]
    features = _features(rows, shape[2])
    wanted = fit.weight @ fit.metric
    factor = cholesky(_spd(features @ fit.metric @ features.T), lower=True)
    explained = solve_triangular(factor, features @ wanted.T, lower=True) ** 2
    per_rank = explained.sum(axis=1).reshape(len(rows), shape[2]).sum(axis=1)
    total = float(np.sum(wanted * fit.weight))
    return np.maximum(total - np.append(0.0, np.cumsum(per_rank)), 0.0)


def separable(fit: Fit, shape: Shape, rank: int, sweeps: int = 3, steps: int = 10) -> tuple[Array, Array]:
    """(V (rank, c, kh), H (n, rank, kw)) near W* in the metric.

    Args:
        shape: (c, kh, kw) of one group's filters.
        sweeps: alternations; 0 leaves V at its start, where a plain fit is optimal.
        steps: conjugate-gradient steps per solve for V.
    """
    wanted = fit.weight @ fit.metric
    vertical = _start(fit, shape)[:rank]
    horizontal = _solve_horizontal(fit, wanted, vertical, shape)
    for _ in range(0 if fit.plain else sweeps):
        vertical = _solve_vertical(fit, wanted, vertical, horizontal, shape, steps)
        horizontal = _solve_horizontal(fit, wanted, vertical, shape)
    return _balanced(vertical, horizontal)


def compose(vertical: Array, horizontal: Array) -> Array:
    """The dense weight (n, c * kh * kw) of two factors."""
    dense = np.einsum("nrj,rci->ncij", horizontal, vertical, optimize=True)
    return dense.reshape(len(dense), -1)


def _start(fit: Fit, shape: Shape) -> Array:
    """Vertical filters (limit, c, kh) by falling singular value, in the metric averaged over kernel columns."""
    channels, height, width = shape
    side, limit = channels * height, separable_limit(len(fit.weight), shape)
    gram = _rearranged(fit, shape)
    if fit.plain:
        return _eigen(gram)[1][:, ::-1][:, :limit].T.reshape(-1, channels, height)
    blocks = fit.metric.reshape(side, width, side, width)
    averaged: Array = np.einsum("ajbj->ab", blocks) / width
    values, vectors = _eigen(averaged)
    root = np.sqrt(np.maximum(values, 1e-9 * values[-1]))
    whiten = root[:, None] * vectors.T
    left = _eigen(whiten @ gram @ whiten.T)[1][:, ::-1]
    rows = (vectors / root) @ left[:, :limit]
    return rows.T.reshape(-1, channels, height)


def _rearranged(fit: Fit, shape: Shape) -> Array:
    """A A^T for W* as the matrix A (c kh x n kw) whose rank is the separable rank."""
    side, width = shape[0] * shape[1], shape[2]
    matrix = fit.weight.reshape(-1, side, width).transpose(1, 0, 2).reshape(side, -1)
    return matrix @ matrix.T


def _eigen(symmetric: Array) -> tuple[Array, Array]:
    return eigh(symmetric)


def _features(vertical: Array, width: int) -> Array:
    """T(V): (R * kw, c * kh * kw), feature (r, j) is filter r applied at kernel column j."""
    rank, channels, height = vertical.shape
    table = np.zeros((rank, width, channels, height, width))
    for column in range(width):
        table[:, column, :, :, column] = vertical
    return table.reshape(rank * width, -1)


def _solve_horizontal(fit: Fit, wanted: Array, vertical: Array, shape: Shape) -> Array:
    features = _features(vertical, shape[2])
    gram = _spd(features @ fit.metric @ features.T)
    solved = cho_solve(cho_factor(gram), features @ wanted.T)
    return solved.T.reshape(len(wanted), len(vertical), shape[2])


def _solve_vertical(fit: Fit, wanted: Array, vertical: Array, horizontal: Array, shape: Shape, steps: int) -> Array:
    def pull_back(dense: Array) -> Array:
        return np.einsum("nrj,ncij->rci", horizontal, dense.reshape(-1, *shape), optimize=True).ravel()

    def apply(flat: Array) -> Array:
        return pull_back(compose(flat.reshape(vertical.shape), horizontal) @ fit.metric)

    operator = LinearOperator((vertical.size, vertical.size), matvec=apply, dtype=np.float64)
    solved, _ = cg(operator, pull_back(wanted), x0=vertical.ravel(), maxiter=steps, rtol=1e-6)
    return solved.reshape(vertical.shape)


def _spd(gram: Array) -> Array:
    return gram + max(1e-9 * np.trace(gram) / len(gram), 1e-30) * np.eye(len(gram))


def _balanced(vertical: Array, horizontal: Array) -> tuple[Array, Array]:
    """Each rank's two factors scaled to equal norm; their product stays."""
    down = np.sqrt(np.sum(vertical**2, axis=(1, 2)))
    across = np.sqrt(np.sum(horizontal**2, axis=(0, 2)))
    scale = np.sqrt(np.divide(across, down, out=np.ones_like(down), where=(down > 0) & (across > 0)))
    return vertical * scale[:, None, None], horizontal / scale[None, :, None]
