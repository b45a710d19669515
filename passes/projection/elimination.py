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
from scipy.linalg import cho_solve
from scipy.linalg.blas import dgemm

from .fit import Array, positive_factor

ROUNDS, CUT = 256, 0.2
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
    """Units (size,) in the order of their removal, and the loss (size + 1,) once the first 0, 1, ... are gone; fewer
    where it ended early."""

    order: np.ndarray
    losses: Array


def eliminate(
    readers: Sequence[Reader],
    price: Array,
    order: np.ndarray | None = None,
    until: float = np.inf,
    rounds: int = ROUNDS,
) -> Elimination:
    """Remove all units, one after the other, or where there are more than `rounds` several at a time.

    Args:
        price: (size,) what the removal of each unit saves, positive.
        order: remove them in this order instead of by loss per price.
        until: end where the loss is more than this, with the units gone so far.
    """
    states = [_state(reader) for reader in readers]
    left = np.ones(len(price), bool)
    removed: list[int] = []
    losses = [0.0]
    while left.any() and losses[-1] <= until:
        scores = np.sum([state.losses() for state in states], axis=0) if states else np.zeros(len(price))
        units = _next(scores / price, left, -(-len(price) // rounds), None if order is None else order[len(removed) :])
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
    """A reader with its weight and inverse metric as units go. Rows and columns of those gone, zeros, are cut off
    once they are `CUT` of all."""

    def __init__(self, reader: Reader):
        size = len(reader.metric)
        self._weight = reader.weight.copy()
        self._inverse: Array = np.asfortranarray(cho_solve(positive_factor(reader.metric), np.eye(size)))
        self._units = len(reader.columns)
        self._owned = _by_size(reader.columns)
        self._scale = 1 / max(reader.signal, LEAST)
        self._gone = np.zeros(size, bool)

    def losses(self) -> Array:
        """(size,) what each unit costs if it goes next; 0 for those gone."""
        found = np.zeros(self._units)
        for units, columns in self._owned:
            found[units] = self._lost(columns)
        return found * self._scale

    def _lost(self, columns: np.ndarray) -> Array:
        """Of units that own as many inputs each: columns (units, b)."""
        if columns.shape[1] == 1:
            only = columns[:, 0]
            return np.square(self._weight[:, only]).sum(0) / self._inverse[only, only]
        blocks: Array = self._inverse[columns[:, :, None], columns[:, None, :]]
        rows = self._weight[:, columns].transpose(1, 2, 0)
        return np.einsum("ubn,ubn->u", rows, np.linalg.solve(blocks, rows))

    def remove(self, units: np.ndarray) -> float:
        """Remove several at once; their joint loss."""
        columns: np.ndarray = np.concatenate(
            [np.array([], np.int64), *(own[np.isin(of, units)].ravel() for of, own in self._owned)]
        )
        self._owned = [(of[left], own[left]) for of, own in self._owned for left in [~np.isin(of, units)]]
        if not len(columns):
            return 0.0
        rows, block = self._weight[:, columns].copy(), self._inverse[np.ix_(columns, columns)]
        across = np.asfortranarray(self._inverse[:, columns])
        solved = np.linalg.solve(block, rows.T)
        self._weight -= (across @ solved).T
        change = np.linalg.solve(block, across.T)
        self._inverse = dgemm(-1.0, across, change, beta=1.0, c=self._inverse, overwrite_c=True)
        self._gone[columns] = True
        if self._gone.mean() > CUT:
            self._cut()
        return float(np.sum(rows.T * solved)) * self._scale

    def _cut(self) -> None:
        left = np.flatnonzero(~self._gone)
        place = np.cumsum(~self._gone) - 1
        self._weight = self._weight[:, left]
        self._inverse = np.asfortranarray(self._inverse[np.ix_(left, left)])
        self._owned = [(units, place[columns]) for units, columns in self._owned]
        self._gone = np.zeros(len(left), bool)


def _by_size(columns: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Units (u,) that own as many inputs b each, one or more, and their columns (u, b)."""
    lengths = np.array([len(each) for each in columns])
    groups = [np.flatnonzero(lengths == size) for size in np.unique(lengths[lengths > 0])]
    return [(units, np.stack([columns[unit] for unit in units.tolist()])) for units in groups]
