"""A weight of which some inputs are free and the others structured, W = [S, L], projected exactly.

With M split into the inputs of S (s) and the others (r), the best S for a given L is

    S = W*_s + (W*_r - L) M_rs M_ss^-1        and leaves        tr((L - W*_r) M' (L - W*_r)^T),
    M' = M_rr - M_rs M_ss^-1 M_sr             (Schur complement)

so L is the projection of W*_r in the metric M', and both are optimal together. L needs no inputs of S: whatever it did
there, S can do. Where M is the identity so is M', and S is W*_s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .fit import Array, Fit


@dataclass(frozen=True, eq=False)
class Partition:
    """Inputs (columns of W*) that are free, and those that are not; both sorted."""

    free: np.ndarray
    others: np.ndarray

    @staticmethod
    def of(channels: np.ndarray, count: int, taps: int) -> Partition:
        """The columns of some of `count` input channels are free."""
        chosen = np.zeros(count, bool)
        chosen[channels] = True
        columns = np.repeat(chosen, taps)
        return Partition(np.flatnonzero(columns), np.flatnonzero(~columns))

    def reduced(self, fit: Fit) -> Fit:
        """What L is projected from."""
        if not len(self.free):
            return fit
        rest = replace(moments_of(fit), weight=fit.weight[:, self.others], mean_x=fit.mean_x[self.others])
        if fit.gram is None:
            return rest
        across = fit.gram[np.ix_(self.free, self.others)]
        schur = fit.gram[np.ix_(self.others, self.others)] - across.T @ self._solve(fit.gram, across)
        return replace(rest, gram=(schur + schur.T) / 2)

    def joined(self, fit: Fit, low: Array) -> Array:
        """The weight (n, d) with the best S for this L (n, others)."""
        weight = fit.weight.copy()
        weight[:, self.others] = low
        if len(self.free) and fit.gram is not None:
            across = fit.gram[np.ix_(self.free, self.others)]
            weight[:, self.free] += self._solve(fit.gram, across @ (fit.weight[:, self.others] - low).T).T
        return weight

    def _solve(self, gram: Array, values: Array) -> Array:
        return np.asarray(cho_solve(cho_factor(gram[np.ix_(self.free, self.free)]), values))


def input_scores(fit: Fit, rest: Array, taps: int) -> Array:
    """(channels,) energy of the error `rest` = W* - W (n, d) that a free S on one input channel alone would take."""
    if fit.gram is None:
        return np.square(rest).sum(axis=0).reshape(-1, taps).sum(axis=1)
    pulls = fit.pulled(rest)
    scores = np.zeros(rest.shape[1] // taps)
    for channel in range(len(scores)):
        own = slice(channel * taps, (channel + 1) * taps)
        pull = pulls[:, own]
        scores[channel] = np.sum(pull * np.linalg.solve(fit.gram[own, own], pull.T).T)
    return scores


def output_scores(fit: Fit, rest: Array) -> Array:
    """(n,) energy of the error `rest` (n, d) of every output."""
    return np.einsum("nd,nd->n", fit.pulled(rest), rest)


def rows_of(fit: Fit, kept: np.ndarray) -> Fit:
    """The fit of some of the outputs."""
    return replace(moments_of(fit), weight=fit.weight[kept], mean_y=fit.mean_y[kept])


def moments_of(fit: Fit) -> Fit:
    """A fit without what a subclass adds."""
    return Fit(fit.weight, fit.gram, fit.mean_x, fit.mean_y, fit.signal, fit.residual)
