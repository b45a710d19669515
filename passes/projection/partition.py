"""A weight of which some inputs are free and the others structured, W = [S, L], projected exactly.

With M split into the inputs of S (s) and the others (r), the best S for a given L is

    S = W*_s + (W*_r - L) M_rs M_ss^-1        and leaves        tr((L - W*_r) M' (L - W*_r)^T),
    M' = M_rr - M_rs M_ss^-1 M_sr             (Schur complement)

so L is the projection of W*_r in the metric M', and both are optimal together. L needs no inputs of S: whatever it did
there, S can do.
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
        across = fit.metric[np.ix_(self.free, self.others)]
        schur = fit.metric[np.ix_(self.others, self.others)] - across.T @ self._solve(fit, across)
        gram: Array = (schur + schur.T) / 2
        return replace(moments_of(fit), weight=fit.weight[:, self.others], gram=gram, mean_x=fit.mean_x[self.others])

    def joined(self, fit: Fit, low: Array) -> Array:
        """The weight (n, d) with the best S for this L (n, others)."""
        weight = np.empty_like(fit.weight)
        weight[:, self.others] = low
        if len(self.free):
            across = fit.metric[np.ix_(self.free, self.others)]
            change = self._solve(fit, across @ (fit.weight[:, self.others] - low).T)
            weight[:, self.free] = fit.weight[:, self.free] + change.T
        return weight

    def _solve(self, fit: Fit, values: Array) -> Array:
        return np.asarray(cho_solve(cho_factor(fit.metric[np.ix_(self.free, self.free)]), values))


def input_scores(fit: Fit, rest: Array, taps: int) -> Array:
    """(channels,) energy of the error `rest` = W* - W (n, d) that a free S on one input channel alone would take."""
    pulls = fit.pulled(rest)
    scores = np.zeros(rest.shape[1] // taps)
    for channel in range(len(scores)):
        own = slice(channel * taps, (channel + 1) * taps)
        pull = pulls[:, own]
        scores[channel] = np.sum(pull * np.linalg.solve(fit.metric[own, own], pull.T).T)
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
