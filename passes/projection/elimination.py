"""Which inputs a set of linear layers can do without: backward elimination of units, with the best re-fit at each step.

A layer has weight W (n, d) and metric M (d, d) (see `fit`); a unit u owns a block of its inputs. Without them the best
weight on those that stay loses, with H = M^-1 and B = H[u, u],

    loss_u = tr(W_u B^-1 W_u^T)
    W <- W - W_u B^-1 H[u, :]        H <- H - H[:, u] B^-1 H[u, :]

so that the losses of successive removals add up to the loss of the joint one, exactly. This is the Optimal Brain
Surgeon (Hassibi and Stork, NIPS 1992) on the quadratic loss of a layer, for blocks of weights. A unit that several
layers read loses the sum, each relative to the layer's signal. The unit of least loss per price goes next.

Cost: d^2 flops per input removed and layer, and one Cholesky factorization of d^3 / 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dgemm

from .fit import Array

ROUNDS = 256
LEAST = 1e-30


@dataclass(frozen=True, eq=False)
class Reader:
    """One layer (or group of one) that reads the units.

    Attributes:
        weight: (n, d).
        metric: (d, d) positive definite, or (d,) where it is diagonal.
        columns: for each unit, which of the d inputs it owns; it may own none.
        signal: what losses are relative to.
    """

    weight: Array
    metric: Array
    columns: Sequence[np.ndarray]
    signal: float


@dataclass(frozen=True, eq=False)
class Elimination:
    """Units (size,) in the order of their removal, and the loss (size + 1,) once the first 0, 1, ... are gone."""

    order: np.ndarray
    losses: Array


def eliminate(readers: Sequence[Reader], price: Array, order: np.ndarray | None = None) -> Elimination:
    """Remove all units, one after the other (beyond `ROUNDS` units several at a time).

    Args:
        price: (size,) what the removal of each unit saves, positive.
        order: remove them in this order instead of by loss per price.
    """
    states = [_state(reader) for reader in readers]
    left = np.ones(len(price), bool)
    removed: list[int] = []
    losses = [0.0]
    while left.any():
        scores = np.sum([state.losses() for state in states], axis=0) if states else np.zeros(len(price))
        units = _next(scores / price, left, -(-len(price) // ROUNDS), None if order is None else order[len(removed) :])
        total = sum(state.remove(units) for state in states)
        share = np.maximum(scores[units], LEAST)
        losses += list(losses[-1] + np.cumsum(share / share.sum() * total))
        removed += units.tolist()
        left[units] = False
    return Elimination(np.asarray(removed, np.int64), np.asarray(losses))


def _next(scores: Array, left: np.ndarray, count: int, order: np.ndarray | None) -> np.ndarray:
    if order is not None:
        return order[:count]
    ranked = np.argsort(np.where(left, scores, np.inf), kind="stable")
    return ranked[: min(count, int(left.sum()))]


def _state(reader: Reader) -> Diagonal | Dense:
    return Diagonal(reader) if reader.metric.ndim == 1 else Dense(reader)


class Diagonal:
    """A reader with a diagonal metric: nothing to re-fit."""

    def __init__(self, reader: Reader):
        energy = np.square(reader.weight).sum(0) * reader.metric / max(reader.signal, LEAST)
        self._losses = np.array([energy[columns].sum() for columns in reader.columns])

    def losses(self) -> Array:
        return self._losses

    def remove(self, units: np.ndarray) -> float:
        return float(self._losses[units].sum())


class Dense:
    """A reader with its weight and inverse metric as units go."""

    def __init__(self, reader: Reader):
        size = len(reader.metric)
        self._weight = reader.weight.copy()
        self._inverse: Array = np.asfortranarray(cho_solve(cho_factor(reader.metric), np.eye(size)))
        self._columns: list[np.ndarray] = list(reader.columns)
        self._scale = 1 / max(reader.signal, LEAST)
        self._gone = np.zeros(len(self._columns), bool)

    def losses(self) -> Array:
        """(size,) what each unit costs if it goes next; 0 for those gone."""
        found = np.zeros(len(self._columns))
        sizes = np.array([0 if gone else len(c) for gone, c in zip(self._gone, self._columns, strict=True)])
        for size in np.unique(sizes[sizes > 0]):
            units = np.flatnonzero(sizes == size)
            columns: np.ndarray = np.stack([self._columns[unit] for unit in units.tolist()])
            blocks: Array = self._inverse[columns[:, :, None], columns[:, None, :]]
            rows = self._weight[:, columns].transpose(1, 2, 0)
            found[units] = np.einsum("ubn,ubn->u", rows, np.linalg.solve(blocks, rows))
        return found * self._scale

    def remove(self, units: np.ndarray) -> float:
        """Remove several at once; their joint loss."""
        owned: list[np.ndarray] = [self._columns[int(unit)] for unit in units]
        columns = np.concatenate(owned)
        self._gone[units] = True
        if not len(columns):
            return 0.0
        rows, block = self._weight[:, columns].copy(), self._inverse[np.ix_(columns, columns)]
        across = np.asfortranarray(self._inverse[:, columns])
        solved = np.linalg.solve(block, rows.T)
        self._weight -= (across @ solved).T
        change = np.linalg.solve(block, across.T)
        self._inverse = dgemm(-1.0, across, change, beta=1.0, c=self._inverse, overwrite_c=True)
        return float(np.sum(rows.T * solved)) * self._scale
