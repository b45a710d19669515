"""Separable weights: a K x 1 convolution to R channels, then a 1 x K convolution (Jaderberg et al., 2014, scheme 2).

    W[n, c, i, j] = sum_r H[n, r, j] V[r, c, i]          V (R, c, kh), H (n, R, kw)

With V as a matrix (R, c kh) and the weight as a matrix A (c kh, n kw), A = V^T H has rank R: without a metric it is
solved by SVD. In the metric M it has no closed form, but each factor alone is a least-squares problem. With T = T(V),
(R kw, d), filter r applied at kernel column j, W = H T and

    H given V:  H = (W* M T^T)(T M T^T)^-1                                                       solved
    V given H:  along -Z, Z = S^-1 (gradient) Q^-1, to the minimum on that line                  one step
                S = sum_j H_j^T H_j  (R, R),  Q = (1/kw) sum_j M[., j, ., j]  (c kh, c kh)

S and Q precondition: where the kernel's columns are uncorrelated, the step solves for V. T is linear in V, so T M is
carried along, T(V - t Z) M = T(V) M - t T(Z) M, and a sweep has one product with M, of R rows. Four sweeps lose less
than three that solve for V by conjugate gradients without S and Q, at a tenth of the products.

`separable` starts from the SVD in the metric Q of the rows of A. The curve uses the start alone: with the features of V
ordered by singular value, one Cholesky factorization of T M T^T gives the energy that each prefix of them explains.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

from .fit import Array, Factor, Fit, plain_fit
from .lowrank import lowrank, lowrank_curve

Shape = tuple[int, int, int]
TINY = 1e-300


def separable_limit(outputs: int, shape: Shape) -> int:
    """The rank at which every weight (n; c, kh, kw) is separable."""
    channels, height, width = shape
    return min(outputs * width, channels * height)


def separable_curve(fit: Fit, shape: Shape, largest: int) -> Array:
    """Lost energy at rank 0, 1, ..., `largest` (at most `separable_limit`) of the start: an upper bound."""
    if fit.plain:
        return lowrank_curve(plain_fit(_matrix(fit.weight, shape), None))[: largest + 1]
    rows = _start(fit, shape, largest)
    wanted = fit.wanted
    factor = cholesky(_spd(_at(_seen(fit, rows), rows, shape)), lower=True)
    explained = solve_triangular(factor, _at(wanted, rows, shape).T, lower=True) ** 2
    per_rank = explained.sum(axis=1).reshape(len(rows), shape[2]).sum(axis=1)
    total = float(np.vdot(wanted, fit.weight))
    return np.maximum(total - np.append(0.0, np.cumsum(per_rank)), 0.0)


def separable(fit: Fit, shape: Shape, rank: int, sweeps: int = 4) -> tuple[Array, Array]:
    """(V (rank, c, kh), H (n, rank, kw)) near W* in the metric.

    Args:
        shape: (c, kh, kw) of one group's filters.
        sweeps: alternations; 0 leaves V at its start. A plain fit needs none.
    """
    if fit.plain:
        across, down = lowrank(plain_fit(_matrix(fit.weight, shape), None), rank)
        return _balanced(down.T, across.reshape(rank, -1, shape[2]).transpose(1, 0, 2), shape)
    wanted, inner = fit.wanted, cho_factor(_spd(_averaged(fit, shape)))
    vertical = _start(fit, shape, rank)
    seen = _seen(fit, vertical)
    horizontal = _horizontal(wanted, seen, vertical, shape)
    for _ in range(sweeps):
        gradient = _pulled_back(wanted - horizontal @ seen, horizontal, shape)
        step = _preconditioned(gradient, horizontal, inner, shape)
        moved = _seen(fit, step)
        curvature = float(np.vdot(step, _pulled_back(horizontal @ moved, horizontal, shape)))
        length = float(np.vdot(step, gradient)) / max(curvature, TINY)
        vertical, seen = vertical + length * step, seen + length * moved
        horizontal = _horizontal(wanted, seen, vertical, shape)
    return _balanced(vertical, horizontal.reshape(len(horizontal), -1, shape[2]), shape)


def compose(vertical: Array, horizontal: Array) -> Array:
    """The dense weight (n, c * kh * kw) of two factors."""
    dense = np.einsum("nrj,rci->ncij", horizontal, vertical, optimize=True)
    return dense.reshape(len(dense), -1)


def _start(fit: Fit, shape: Shape, rank: int) -> Array:
    """Vertical filters (rank, c kh) by falling singular value of A in the metric Q of its rows."""
    root = cholesky(_spd(_averaged(fit, shape)), lower=True)
    rows = lowrank(plain_fit(root.T @ _matrix(fit.weight, shape), None), rank)[1]
    return solve_triangular(root, rows, lower=True, trans="T").T


def _matrix(weight: Array, shape: Shape) -> Array:
    """A (c kh, n kw) of a weight (n, c kh kw)."""
    side, width = shape[0] * shape[1], shape[2]
    return weight.reshape(-1, side, width).transpose(1, 0, 2).reshape(side, -1)


def _averaged(fit: Fit, shape: Shape) -> Array:
    """Q."""
    side, width = shape[0] * shape[1], shape[2]
    return np.einsum("ajbj->ab", fit.metric.reshape(side, width, side, width)) / width


def _seen(fit: Fit, vertical: Array) -> Array:
    """T M, (R kw, d)."""
    return (vertical @ fit.metric.reshape(vertical.shape[1], -1)).reshape(-1, len(fit.metric))


def _at(rows: Array, vertical: Array, shape: Shape) -> Array:
    """X T^T, (m, R kw), of X (m, d)."""
    found = _by_column(rows, shape) @ vertical.T
    return found.reshape(len(rows), shape[2], -1).transpose(0, 2, 1).reshape(len(rows), -1)


def _by_column(dense: Array, shape: Shape) -> Array:
    """(m kw, c kh) of (m, c kh kw): one large product is faster than one per row."""
    return dense.reshape(len(dense), -1, shape[2]).transpose(0, 2, 1).reshape(len(dense) * shape[2], -1)


def _horizontal(wanted: Array, seen: Array, vertical: Array, shape: Shape) -> Array:
    """H given V, (n, R kw)."""
    factor = cho_factor(_spd(_at(seen, vertical, shape)))
    return cho_solve(factor, _at(wanted, vertical, shape).T).T


def _pulled_back(dense: Array, horizontal: Array, shape: Shape) -> Array:
    """The gradient (R, c kh) with respect to V of <dense, H T(V)>, for a dense (n, d)."""
    return _by_rank(horizontal, shape) @ _by_column(dense, shape)


def _by_rank(horizontal: Array, shape: Shape) -> Array:
    """(R, n kw) of (n, R kw)."""
    filters = horizontal.reshape(len(horizontal), -1, shape[2])
    return filters.transpose(1, 0, 2).reshape(filters.shape[1], -1)


def _preconditioned(gradient: Array, horizontal: Array, inner: Factor, shape: Shape) -> Array:
    """S^-1 G Q^-1, with `inner` the factor of Q."""
    across = _by_rank(horizontal, shape)
    return cho_solve(inner, cho_solve(cho_factor(_spd(across @ across.T)), gradient).T).T


def _spd(gram: Array) -> Array:
    return gram + max(1e-9 * np.trace(gram) / len(gram), 1e-30) * np.eye(len(gram))


def _balanced(vertical: Array, horizontal: Array, shape: Shape) -> tuple[Array, Array]:
    """V as (R, c, kh), and each rank's two factors scaled to equal norm; their product stays."""
    down = np.sqrt(np.sum(vertical**2, axis=1))
    across = np.sqrt(np.sum(horizontal**2, axis=(0, 2)))
    scale = np.sqrt(np.divide(across, down, out=np.ones_like(down), where=(down > 0) & (across > 0)))
    vertical = (vertical * scale[:, None]).reshape(-1, *shape[:2])
    return vertical, horizontal / scale[None, :, None]
