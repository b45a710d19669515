"""The best dense weight of a layer, and the metric in which structured ones are compared with it.

For centred inputs x and wanted outputs y of one group, with C = E[x x^T], D = E[y x^T] and the stored weight W0:

    W* = argmin_W  E|y - W x|^2 + l |W - W0|^2  =  (D + l W0)(C + l I)^-1            l = ridge * mean diagonal of C
    E|y - W x|^2 + l |W - W0|^2  =  const + tr((W - W*) M (W - W*)^T)                M = C + l I

so any structured fit is a projection of W* in the metric M. Means come back in through the bias, b = E[y] - W E[x].
Without data M is the identity and W* = W0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Array = NDArray[np.float64]
Factor = tuple[Array, Any]  # as scipy's cho_factor answers
ROUNDING, SAFE, TINY = 1e-5, 30, 1e-12
LEAST_SIGNAL = 1e-30


@dataclass(frozen=True, eq=False)
class Fit:
    """One group of a layer with n outputs and d inputs.

    Attributes:
        weight: W*, (n, d) float64.
        gram: M, (d, d) float64, symmetric positive definite; None where it is the identity, so that truncated SVDs
            are optimal.
        mean_x, mean_y: (d,) and (n,); zeros and the stored bias without data.
        signal: variance of the wanted outputs (the squared norm of the weight without data).
        residual: variance of the wanted outputs that even W* misses.
        rhs: W* M (n, d), the right-hand side of the normal equations, where they were solved.
    """

    weight: Array
    gram: Array | None
    mean_x: Array
    mean_y: Array
    signal: float
    residual: float = 0.0
    rhs: Array | None = None

    @property
    def plain(self) -> bool:
        return self.gram is None

    @cached_property
    def metric(self) -> Array:
        """M."""
        return np.eye(self.weight.shape[1]) if self.gram is None else self.gram

    @property
    def diagonal(self) -> Array:
        """Of M, (d,)."""
        return np.ones_like(self.mean_x) if self.gram is None else self.gram.diagonal()

    @cached_property
    def wanted(self) -> Array:
        """W* M, (n, d)."""
        return self.pulled(self.weight) if self.rhs is None else self.rhs

    def pulled(self, weight: Array) -> Array:
        """W M of a weight (n, d)."""
        return weight if self.gram is None else weight @ self.gram

    def lost(self, weight: Array) -> float:
        """tr((W - W*) M (W - W*)^T): output energy that `weight` (n, d) loses against W*."""
        gap = weight - self.weight
        return float(np.vdot(self.pulled(gap), gap))

    def bias(self, weight: Array) -> Array:
        """The bias (n,) that gives outputs of `weight` the wanted mean."""
        return self.mean_y - weight @ self.mean_x


def total_signal(fits: Sequence[Fit]) -> float:
    """The variance of a layer's wanted outputs, over its groups: what its errors are relative to."""
    return max(sum(fit.signal for fit in fits), LEAST_SIGNAL)


def best_fit(xx: Array, yx: Array, power: float, stored: Array, ridge: float, own: bool = False) -> Fit:
    """The fit to second moments xx (d + 1, d + 1), yx (n, d + 1) that carry a 1 as the last input, and E|y|^2.

    `own`: y is what the stored weight gives, so that W* = W0.
    """
    mean_x, mean_y = xx[-1, :-1], yx[:, -1]
    inputs: Array = np.outer(mean_x, -mean_x)
    inputs += xx[:-1, :-1]
    cross: Array = yx[:, :-1] - np.outer(mean_y, mean_x)
    metric, pull, factor = ridged(xx, inputs, ridge, factored=not own)
    rhs: Array = cross + pull * stored
    signal = float(power - mean_y @ mean_y)
    if own or factor is None:
        return Fit(stored.astype(np.float64), metric, mean_x, mean_y, signal, 0.0, rhs)
    weight = _solve(factor, rhs)
    residual = signal - float(np.vdot(weight, cross + pull * (weight - stored)))
    return Fit(weight, metric, mean_x, mean_y, signal, max(0.0, residual), rhs)


def ridged(
    moments: Array, covariance: Array, ridge: float, factored: bool = False
) -> tuple[Array, float, Factor | None]:
    """M = C + l I (d, d), l, and scipy's Cholesky factor of M, if it is asked for or has to be tried.

    The covariance C becomes M in place: they may be large. l = ridge * mean diagonal of the covariance C, but above the
    rounding errors of float32 second moments. Where inputs have a large mean and vary little these grow with d, so l is
    raised until M is positive definite; from `SAFE` times their mean on it mostly is (else: `positive_factor`).
    """
    traces = np.trace(moments[:-1, :-1]), np.trace(covariance)
    pull = float(least_pull(ridge, *traces, len(covariance)))
    variances: Array = np.diagonal(covariance).copy()
    np.fill_diagonal(covariance, variances + pull)
    if not factored and pull * len(covariance) > SAFE * ROUNDING * traces[0]:
        return covariance, pull, None
    while True:
        try:
            return covariance, pull, cho_factor(covariance.T, check_finite=False)
        except LinAlgError:
            pull *= 10
            np.fill_diagonal(covariance, variances + pull)


def least_pull(ridge: float, moments: Array, covariances: Array, inputs: int) -> Array:
    """The first l of `ridged`, by the traces of the second moments and of the covariances of one or more groups."""
    if not np.isfinite(covariances).all():
        raise FloatingPointError("the squares of what the layer reads overflow")
    return np.maximum(np.maximum(ridge * covariances, ROUNDING * moments), TINY) / inputs


def positive_factor(metric: Array, lower: bool = False) -> Factor:
    """scipy's Cholesky factor of a metric M (d, d), or of M + l I, with a small l where it is needed: rounding errors
    in a direction of a large mean can be greater than the least variance (`ridged`)."""
    pull = 0.0
    while True:
        try:
            return cho_factor(metric + pull * np.eye(len(metric)) if pull else metric, lower=lower)
        except LinAlgError:
            pull = max(10 * pull, ROUNDING * float(np.trace(metric)) / len(metric))


def _solve(factor: Factor, cross: Array) -> Array:
    """cross M^-1, by the factor of M."""
    return np.asarray(cho_solve(factor, cross.T)).T


def plain_fit(stored: Array, bias: Array | None) -> Fit:
    """The fit without data: the identity metric around the stored weight (n, d)."""
    weight: Array = stored.astype(np.float64)
    mean_y = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    mean_x = np.zeros_like(weight[0])
    return Fit(weight, None, mean_x, mean_y, float(np.vdot(weight, weight)))
