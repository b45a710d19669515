"""Rank-r weights: W = U V with V (r, d) and U (n, r).

In the metric M = L L^T the nearest weight of rank r to W* is a truncated SVD of W* L. Its left singular vectors P are
the top eigenvectors of W* M W*^T, so  U = P,  V = P^T W*,  and the lost energy is the sum of the eigenvalues left out.
A tall W* = Q R with R (d, d) is reduced first: the eigenvectors are Q times those of R M R^T, n - d eigenvalues are 0.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh, eigvalsh

from .fit import Array, Fit

FEW = 5  # of 192 to 2,048 eigenvectors, LAPACK finds all faster than it finds more than a fifth of them


def lowrank_curve(fit: Fit) -> Array:
    """Lost energy at rank 0, 1, ..., n: (n + 1,), falling to 0."""
    outputs, inputs = fit.weight.shape
    small: Array = np.linalg.qr(fit.weight).R if outputs > inputs else fit.weight
    energies: Array = np.maximum(eigvalsh(_energy(fit, small)), 0.0)
    return np.append(energies.cumsum()[::-1], np.zeros(outputs + 1 - len(energies)))


def lowrank(fit: Fit, rank: int) -> tuple[Array, Array]:
    """(V (rank, d), U (n, rank)) nearest to W* in the metric; U has orthonormal columns."""
    outputs, inputs = fit.weight.shape
    if outputs > inputs >= rank:
        outer, small = np.linalg.qr(fit.weight)
        basis = outer @ _principal(fit, small, rank)
    else:
        basis = _principal(fit, fit.weight, rank)
    return basis.T @ fit.weight, basis


def _principal(fit: Fit, weight: Array, rank: int) -> Array:
    """The first eigenvectors of W M W^T as columns, the largest eigenvalue first."""
    energy = _energy(fit, weight)
    count = len(energy)
    if not rank:
        return energy[:, :0]
    if rank * FEW > count:
        return eigh(energy, driver="evd")[1][:, ::-1][:, :rank]
    return eigh(energy, subset_by_index=[count - rank, count - 1], driver="evr")[1][:, ::-1]


def _energy(fit: Fit, weight: Array) -> Array:
    """W M W^T."""
    return (fit.wanted if weight is fit.weight else fit.pulled(weight)) @ weight.T
