"""Filters as templates, scaled tap by tap: W[n, g, c, k] = B[g, m(n), c, k] T[n, g, k]          (spatial basis filters)

    g: G groups of c = C/G input channels, k: taps of the kernel, M templates, m(n): the template of filter n

Each part is a least-squares problem in the metric X while the others stay, and no step raises the error:

    T given B, m   per filter, G k unknowns: the features z_gk = sum_c B[g, m, c, k] x_gck have moments A_m X A_m^T
    B given T, m   normal equations by conjugate gradients, applied through W -> W X
    m given B      every filter takes the template that explains most of it with its best T; by optimal assignment where
                   a template may serve only so many filters (the groups of a Conv are of equal size)

The start takes filters of the layer as templates, chosen one after another by how much they explain of all filters
(`greedy`), or the largest ones (`magnitude`, as the paper prunes). The error curve is that of the start.

Source: Miles and Mikolajczyk, "Reconstructing pruned filters using cheap spatial transformations", ICCV Workshops 2023
(arXiv 2110.12844). There T and B are trained, m(n) = n mod M; the fit is the project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import LinearOperator, cg

from .fit import Array, Fit

Select = Literal["greedy", "magnitude"]
Assignment = NDArray[np.int64]
SOLVER_STEPS = 10


@dataclass(frozen=True, eq=False)
class Templates:
    """One layer as templates.

    Attributes:
        basis: B (G, M, C/G, K).
        transforms: T (N, G, K).
        choice: m (N,).
    """

    basis: Array
    transforms: Array
    choice: Assignment

    def dense(self) -> Array:
        """W (N, d)."""
        picked = self.basis[:, self.choice].swapaxes(0, 1)
        return (picked * self.transforms[:, :, None]).reshape(len(self.choice), -1)


def templates_order(fit: Fit, shape: tuple[int, int, int], select: Select) -> tuple[Assignment, Array]:
    """(filters in the order in which they become templates (N,), lost energy with the first 0, 1, ... N of them).

    Args:
        shape: (G, C/G, K).
    """
    energy = np.sum(fit.wanted * fit.weight, axis=1)
    lost = np.maximum(energy[:, None] - _explained(fit, _grouped(fit.weight, shape).swapaxes(0, 1)), 0.0)
    np.fill_diagonal(lost, 0.0)
    order = np.argsort(-energy, kind="stable") if select == "magnitude" else _greedy(energy, lost)
    curve = np.minimum.accumulate(np.column_stack([energy, lost[:, order]]), axis=1).sum(axis=0)
    return order, curve


def templates(
    fit: Fit, shape: tuple[int, int, int], chosen: Sequence[int] | Assignment, equal: bool, rounds: int = 3
) -> Templates:
    """Templates near W* in the metric, from some of its filters.

    Args:
        shape: (G, C/G, K).
        chosen: the filters to start from (M,).
        equal: every template serves at most ceil(N / M) filters.
    """
    basis = _grouped(fit.weight, shape)[np.asarray(chosen)].swapaxes(0, 1)
    current = _with_transforms(fit, _with_choice(fit, basis, equal), shape)
    for _ in range(rounds):
        moved = _with_basis(fit, current, shape)
        moved = _with_transforms(fit, _with_choice(fit, moved.basis, equal), shape)
        if fit.lost(moved.dense()) >= fit.lost(current.dense()):
            break
        current = moved
    return current


def _grouped(weight: Array, shape: tuple[int, int, int]) -> Array:
    return weight.reshape(-1, *shape)


def _greedy(energy: Array, lost: Array) -> Assignment:
    left, order = energy, np.empty(len(energy), np.int64)
    taken = np.zeros(len(energy), bool)
    for step in range(len(order)):
        gain = np.maximum(left[:, None] - lost, 0.0).sum(axis=0)
        order[step] = int(np.argmax(np.where(taken, -1.0, gain)))
        taken[order[step]] = True
        left = np.minimum(left, lost[:, order[step]])
    return order


def _moments(fit: Fit, basis: Array) -> tuple[Array, Array]:
    """Per template the moments of its features, (M, G K, G K), and with every filter's output, (N, M, G K)."""
    groups, count, channels, taps = basis.shape
    wanted = fit.wanted.reshape(-1, groups, channels, taps)
    cross = np.einsum("gmck,ngck->nmgk", basis, wanted, optimize=True)
    return _raised(_grams(fit, basis)), cross.reshape(len(wanted), count, groups * taps)


def _grams(fit: Fit, basis: Array) -> Array:
    """A_m X A_m^T of every template, (M, G K, G K)."""
    groups, count, channels, taps = basis.shape
    size = groups * taps
    if fit.gram is None:
        return np.einsum("gmck,gmck->mgk", basis, basis).reshape(count, size, 1) * np.eye(size)
    metric = fit.gram.reshape(groups, channels, taps, -1)
    whole = basis.swapaxes(0, 1)
    grams = np.empty((count, size, size))
    for group, tap in np.ndindex(groups, taps):
        pulled = (basis[group, :, :, tap] @ metric[group, :, tap]).reshape(whole.shape)
        grams[:, group * taps + tap] = np.einsum("mgck,mgck->mgk", pulled, whole).reshape(count, size)
    return grams


def _raised(grams: Array) -> Array:
    """A little more on the diagonals, so that a template that sees nothing can be solved for."""
    size = grams.shape[-1]
    raised = np.maximum(1e-10 * np.trace(grams, axis1=1, axis2=2), 1e-30)
    return grams + raised[:, None, None] * np.eye(size)


def _explained(fit: Fit, basis: Array) -> Array:
    """What each template explains of each filter with its best transform: (N, M)."""
    grams, cross = _moments(fit, basis)
    return np.einsum("nmi,nmi->nm", cross, _solve(grams, cross))


def _solve(grams: Array, cross: Array) -> Array:
    solved: list[Array] = [np.linalg.solve(gram, cross[:, m].T).T for m, gram in enumerate(grams)]
    return np.stack(solved, axis=1)


def _with_choice(fit: Fit, basis: Array, equal: bool) -> Templates:
    gain = _explained(fit, basis)
    filters, count = gain.shape
    choice = np.argmax(gain, axis=1)
    if equal:
        share = -(-filters // count)
        choice = linear_sum_assignment(np.repeat(gain, share, axis=1), maximize=True)[1] // share
    return Templates(basis, np.ones((filters, basis.shape[0], basis.shape[3])), choice)


def _with_transforms(fit: Fit, current: Templates, shape: tuple[int, int, int]) -> Templates:
    grams, cross = _moments(fit, current.basis)
    every = np.arange(len(cross))
    solved = np.linalg.solve(grams[current.choice], cross[every, current.choice][..., None])
    return replace(current, transforms=solved.reshape(-1, shape[0], shape[2]))


def _with_basis(fit: Fit, current: Templates, shape: tuple[int, int, int]) -> Templates:
    def pull_back(dense: Array) -> Array:
        scaled = _grouped(dense, shape) * current.transforms[:, :, None]
        total = np.zeros((current.basis.shape[1], *shape))
        np.add.at(total, current.choice, scaled)
        return total.swapaxes(0, 1).ravel()

    def apply(flat: Array) -> Array:
        return pull_back(fit.pulled(replace(current, basis=flat.reshape(current.basis.shape)).dense()))

    operator = LinearOperator((current.basis.size, current.basis.size), matvec=apply, dtype=np.float64)
    wanted = pull_back(fit.wanted)
    solved, _ = cg(operator, wanted, x0=current.basis.ravel(), maxiter=SOLVER_STEPS, rtol=1e-7)
    return replace(current, basis=solved.reshape(current.basis.shape))
