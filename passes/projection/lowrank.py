"""Rank-r weights: W = U V with V (r, d) and U (n, r).

In the metric M = L L^T the nearest weight of rank r to W* is a truncated SVD of W* L. Its left singular vectors P are
the top eigenvectors of W* M W*^T, so  U = P,  V = P^T W*,  and the lost energy is the sum of the eigenvalues left out.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from .fit import Array, Fit


def lowrank_curve(fit: Fit) -> Array:
    """Lost energy at rank 0, 1, ..., n: (n + 1,), falling to 0."""
    values = np.maximum(_eigen(fit)[0], 0.0)
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def lowrank(fit: Fit, rank: int) -> tuple[Array, Array]:
    """(V (rank, d), U (n, rank)) nearest to W* in the metric; U has orthonormal columns."""
    basis = _eigen(fit)[1][:, :rank]
    return basis.T @ fit.weight, basis


def _eigen(fit: Fit) -> tuple[Array, Array]:
    """Eigenvalues (n,) falling, and eigenvectors (n, n), of W* M W*^T."""
    values, vectors = eigh(fit.weight @ fit.metric @ fit.weight.T)
    return values[::-1], vectors[:, ::-1]
