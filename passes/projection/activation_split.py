"""The elementwise step of a splitting through an activation f of straight pieces.

    m*(y, v) = argmin_m  1/2 (y - f(m))^2 + t/2 (m - v)^2

On a piece where f(m) = a m + c the minimum is at (a (y - c) + t v) / (a^2 + t), moved to the nearer end of the piece if
it lies outside; the piece of least cost wins. For the ReLU these are the two cases min(v, 0) and
max((y + t v) / (1 + t), 0).

That loss is not convex: with y > 0 > m it is flat. `convex_split` takes its convex majorant, where a wanted output
before the activation, y, rules out the pieces beyond the next one: with low < y the line m goes on below `low`, with
y < high above `high`. For the ReLU, 1/2 (y - m)^2 where y > 0, and 1/2 max(m, 0)^2 elsewhere.

Source for the ReLU: Zhang et al., "Accelerating very deep convolutional networks", TPAMI 2016 (arXiv 1505.06798),
section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

import numpy as np

LinearPiece = tuple[float, float, float, float]


@dataclass(frozen=True)
class PiecewiseLinear:
    """f(z) = low + leak (z - low) below `low`, high above `high`, z between them; without bounds the identity."""

    low: float = -inf
    high: float = inf
    leak: float = 0.0

    def __call__(self, z: np.ndarray) -> np.ndarray:
        bounded = np.clip(z, self.low, self.high)
        return bounded + self.leak * np.minimum(z - self.low, 0) if self.leak else bounded


def split(y: np.ndarray, v: np.ndarray, penalty: float, activation: PiecewiseLinear) -> np.ndarray:
    """m* for every element of the wanted activated outputs y and of v; `penalty` is t."""
    if activation == PiecewiseLinear():
        return (y + penalty * v) / (1.0 + penalty)
    best, least = v, np.full(v.shape, np.inf, v.dtype)
    for low, high, slope, offset in _pieces(activation):
        m = np.clip((slope * (y - offset) + penalty * v) / (slope * slope + penalty), low, high)
        cost = np.square(y - (slope * m + offset)) + penalty * np.square(m - v)
        best, least = np.where(cost < least, m, best), np.minimum(cost, least)
    return best


def convex_split(y: np.ndarray, v: np.ndarray, penalty: float, activation: PiecewiseLinear) -> np.ndarray:
    """The minimum of the convex majorant; y is wanted before the activation."""
    wanted = activation(y)
    found = split(wanted, v, penalty, PiecewiseLinear())
    if activation.low > -inf:
        found = np.where(y < activation.low, split(wanted, v, penalty, replace(activation, high=inf)), found)
    if activation.high < inf:
        found = np.where(y > activation.high, split(wanted, v, penalty, PiecewiseLinear(high=activation.high)), found)
    return found


def _pieces(activation: PiecewiseLinear) -> Iterator[LinearPiece]:
    """(low end, high end, a, c)."""
    low, high, leak = activation.low, activation.high, activation.leak
    if low > -inf:
        yield -inf, low, leak, low * (1 - leak)
    yield low, high, 1.0, 0.0
    if high < inf:
        yield high, inf, 0.0, high
