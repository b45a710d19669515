"""The second moments of a linear layer: all that its best structured fit depends on.

With x the input row (a patch, a 1 appended for the bias) and y the wanted output, streamed over samples:

    XX = E[x x^T]    YX = E[y x^T]    YY = E[y y^T]        per group of the layer

so that  E|y - W x|^2 = tr(YY) - 2 tr(W YX^T) + tr(W XX W^T)  for any W (N, d + 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.blas import ssyrk

from ..compiler.activation import Activation

TILE = 256


@dataclass(frozen=True, eq=False)
class Rows:
    """Sampled rows of a layer themselves, for fits that see through the activation after it: f(y + shift).

    Attributes:
        x: (samples, g, d) float32.
        y: (samples, g, n) float32, the wanted output.
        shift: (samples, g, n) float32, what is added before the activation, if anything is.
        activation: None where the layer is followed by none that is known.
    """

    x: np.ndarray
    y: np.ndarray
    shift: np.ndarray | None = None
    activation: Activation | None = None


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments per group g of a layer with d inputs and n outputs a group, the bias input included.

    Attributes:
        xx: (g, d + 1, d + 1); the last row and column hold the mean of x, and 1.
        yx: (g, n, d + 1); the last column is the mean of y.
        yy: (g, n, n).
        count: rows that were averaged.
        rows: those of them that were kept, if any were asked for.
    """

    xx: np.ndarray
    yx: np.ndarray
    yy: np.ndarray
    count: int
    rows: Rows | None = None

    @property
    def signal(self) -> float:
        """Total variance of y over all outputs: what relative errors are relative to."""
        mean = self.yx[:, :, -1]
        return float(np.trace(self.yy, axis1=1, axis2=2).sum() - (mean**2).sum())


class MomentSum:
    """Accumulates moments batch by batch, in float64 over float32 products.

    The rows (x, 1, y) of a group have one Gram matrix, which holds XX, YX and YY as blocks.
    """

    def __init__(self, group: int, fan_in: int, outputs: int):
        self._inputs = fan_in + 1
        self._gram = np.zeros((group, fan_in + 1 + outputs, fan_in + 1 + outputs))
        self._count = 0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Rows x (samples, g, d) and y (samples, g, n), float32."""
        ones = np.ones((len(x), 1), np.float32)
        for g in range(x.shape[1]):
            self._gram[g] += _lower_gram(np.hstack([x[:, g], ones, y[:, g]]))
        self._count += len(x)

    def result(self) -> Moments:
        """The sum itself, divided: nothing can be added any more."""
        gram, split = self._gram, self._inputs
        gram /= max(1, self._count)
        for matrix in gram:
            _mirror(matrix)
        return Moments(gram[:, :split, :split], gram[:, split:, :split], gram[:, split:, split:], self._count)


def _lower_gram(rows: np.ndarray) -> np.ndarray:
    """The lower triangle of rows^T rows, by a symmetric rank-k update: half the work of a matrix product."""
    return np.asarray(ssyrk(1.0, rows.T, lower=1))


def _mirror(lower: np.ndarray) -> None:
    """Fill the upper triangle in place, tile by tile: a transposed copy of the whole would not fit a cache."""
    for start in range(0, len(lower), TILE):
        end = start + TILE
        tile = lower[start:end, start:end]
        tile += np.tril(tile, -1).T
        lower[start:end, end:] = lower[end:, start:end].T
