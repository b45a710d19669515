"""The second moments of a linear layer: all that its best structured fit depends on.

With x the input row (a patch, a 1 appended for the bias) and y the wanted output, streamed over samples:

    XX = E[x x^T]    YX = E[y x^T]    P_n = E y_n^2     per group of the layer

so that  E|y_n - w x|^2 = P_n - 2 w YX_n^T + w XX w^T  for any row w (d + 1) of a weight, and of a whole weight the sum.

Where y is what the layer itself computes, y = W0 x, the inputs say it all: YX = W0 XX, P = diag(W0 XX W0^T).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg.blas import ssyrk

from ..compiler.graph.activations import Activation

TILE, BLOCK, BLOCK_BYTES = 256, 2**13, 2**25


@dataclass(frozen=True, eq=False)
class SampledRows:
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
        squares: (g, n), the mean of y^2.
        count: rows that were averaged.
        rows: those of them that were kept, if any were asked for.
        own: y is what the layer itself computes.
        parts: those of the rows of two halves of the samples, where they were kept apart.
    """

    xx: np.ndarray
    yx: np.ndarray
    squares: np.ndarray
    count: int
    rows: SampledRows | None = None
    own: bool = False
    parts: tuple[Moments, Moments] | None = None

    @property
    def power(self) -> np.ndarray:
        """(g,), the mean of |y|^2."""
        return self.squares.sum(axis=1)

    @property
    def signal(self) -> float:
        """Total variance of y over all outputs: what relative errors are relative to."""
        return float(self.squares.sum() - (self.yx[:, :, -1] ** 2).sum())


class InputSum:
    """Accumulates XX, in float32: rows are some ten thousands, as one product of them all would be."""

    def __init__(self, group: int, fan_in: int):
        self._lower = np.zeros((group, fan_in, fan_in), np.float32)
        self._sums = np.zeros((group, fan_in))
        self._count = 0

    def add(self, x: np.ndarray) -> None:
        """Rows x (samples, g, d), float32."""
        for lower, sums, rows in zip(self._lower, self._sums, x.transpose(1, 0, 2), strict=True):
            _add_lower_gram(lower, rows)
            sums += _column_sums(rows)
        self._count += len(x)

    def result(self) -> tuple[np.ndarray, int]:
        """XX (g, d + 1, d + 1) float64 and the number of rows."""
        group, fan_in = self._sums.shape
        xx = np.zeros((group, fan_in + 1, fan_in + 1))
        xx[:, :-1, :-1], xx[:, -1, :-1], xx[:, -1, -1] = self._lower, self._sums, self._count
        xx /= max(1, self._count)
        for matrix in xx:
            _mirror(matrix)
        return xx, self._count


class MomentSum:
    """Accumulates moments over float32 products."""

    def __init__(self, group: int, fan_in: int, outputs: int):
        self._inputs = InputSum(group, fan_in)
        self._yx = np.zeros((group, outputs, fan_in + 1))
        self._squares = np.zeros((group, outputs))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Rows x (samples, g, d) and y (samples, g, n), float32."""
        self._inputs.add(x)
        for g, total in enumerate(self._yx):
            total[:, :-1] += y[:, g].T @ x[:, g]
            total[:, -1] += _column_sums(y[:, g])
        self._squares += np.einsum("sgn,sgn->gn", y, y, dtype=np.float64)

    def result(self) -> Moments:
        xx, count = self._inputs.result()
        most = max(1, count)
        return Moments(xx, self._yx / most, self._squares / most, count)


def joined(first: Moments, second: Moments) -> Moments:
    """Of the rows of both, which stay `parts` where there are some of each."""
    count = max(1, first.count + second.count)
    share, rest = first.count / count, second.count / count
    xx, yx, squares = (share * getattr(first, name) + rest * getattr(second, name) for name in ("xx", "yx", "squares"))
    return Moments(
        xx, yx, squares, first.count + second.count, parts=(first, second) if first.count and second.count else None
    )


def blocks(batches: Iterable[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
    """Rows of several batches joined to `BLOCK` or more, as products of few rows are slow; those of a depthwise layer,
    which are wide, to `BLOCK_BYTES`. The last may have fewer."""
    yield from (block for _, block in parted_blocks((0, batch) for batch in batches))


def parted_blocks(
    batches: Iterable[tuple[int, tuple[np.ndarray, ...]]],
) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    """The same of rows that belong to different parts, each named by a number."""
    held: dict[int, list[tuple[np.ndarray, ...]]] = {}
    for part, batch in batches:
        rows = held.setdefault(part, [])
        rows.append(batch)
        if sum(len(first) for first, *_ in rows) >= BLOCK or sum(map(_bytes, rows)) >= BLOCK_BYTES:
            yield part, _joined(held.pop(part))
    yield from ((part, _joined(rows)) for part, rows in held.items())


def _bytes(rows: tuple[np.ndarray, ...]) -> int:
    return sum(each.nbytes for each in rows)


def _joined(batches: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    return batches[0] if len(batches) == 1 else tuple(map(np.concatenate, zip(*batches, strict=True)))


def own_moments(inputs: tuple[np.ndarray, int], weight: np.ndarray, bias: np.ndarray) -> Moments:
    """Moments where y is what the layer with `weight` (g, n, d) and `bias` (g, n) computes, by XX and a row count."""
    xx, count = inputs
    whole = np.concatenate([weight, bias[:, :, None]], axis=2).astype(np.float64)
    yx = whole @ xx
    return Moments(xx, yx, np.einsum("gnd,gnd->gn", yx, whole), count, own=True)


def _add_lower_gram(lower: np.ndarray, rows: np.ndarray) -> None:
    """Add the lower triangle of rows^T rows, by a symmetric rank-k update: half the work of a matrix product."""
    ssyrk(1.0, rows.T, beta=1.0, c=lower.T, overwrite_c=1)  # in BLAS's order of axes it is the upper one


def _column_sums(rows: np.ndarray) -> np.ndarray:
    return np.ones(len(rows), np.float32) @ rows


def _mirror(lower: np.ndarray) -> None:
    """Fill the upper triangle in place, tile by tile: a transposed copy of the whole would not fit a cache."""
    for start in range(0, len(lower), TILE):
        end = start + TILE
        tile = lower[start:end, start:end]
        tile += np.tril(tile, -1).T
        lower[start:end, end:] = lower[end:, start:end].T
