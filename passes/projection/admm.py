"""Group-sparse plus low-rank, seen through the activation: linearised ADMM on sampled rows.

    min  h(Y, P) + l1 sum_g |S_g| + l2 |L|_*        P = X (S + L)^T + b, over rows X (m, d) and Y (m, n)

where h is the convex majorant of 1/2 |f(Y) - f(P)|^2 (`activation_split`). With M = P for the split and a scaled
multiplier U (the multiplier is t U), one iteration:

    S <- prox(S - (1/eta) (P - M - U)^T X, l1 / (t eta))     S_g max(0, 1 - threshold / |S_g|) for every group
    P recomputed;  L <- singular values of L - (1/eta) (P - M - U)^T X lowered by l2 / (t eta)
    b <- the mean of M + U - X (S + L)^T
    M <- argmin h(Y, M) + t/2 |M - (P - U)|^2                elementwise
    U <- U + M - P

Where L is to be separable, its singular values are those of its rearrangement (n kw, c kh), whose rank is the number
of separable terms (`separable`).

With 1/2 |f(Y) - f(P)|^2 itself the iteration cycles: on three layers of ResNet-20, t = 0.3, 1 and 5, residuals of 0.002
to 7 are left after 100 iterations, with h (t = 1) about 0.0002 at most. The groups left by h lose less once refitted
than those of t = 5 on two of the layers, and more on one.

It converges for eta at least the largest eigenvalue of X^T X. X is centred (b makes up for it) and every input channel
is scaled to unit variance, so that a group's norm is in units of outputs.

The penalties follow from the size that is asked for. In the first half of the iterations the thresholds are those that
leave q groups and r singular values (the (q+1)-th largest norm, the (r+1)-th largest value); in the second half they
are constant, and the residuals |M - P| and |M - M_before|, relative to |P|, fall.

Without data X is the identity, P, M and U are weights, and nothing is multiplied.

Work: 8 m d n flops per iteration, with m at most `SAMPLES`, and the eigenvectors of the smaller side of L.

Source: Ma et al., "A unified approximation framework for compressing and accelerating deep neural networks" (arXiv
1807.10119), for objective and solver; its group shape and penalties are not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from .activation_aware import ActivationSamples
from .activation_split import PiecewiseLinear, convex_split
from .fit import Fit, positive_factor

Axis = Literal["rows", "channels"]
SAMPLES = 2048
STEP_MARGIN = 1.1  # the power method comes from below


@dataclass(frozen=True)
class AdmmProblem:
    """What is asked for.

    Attributes:
        axis: S is sparse over output rows, or over input channels of `taps` columns each.
        groups, rank: q and r, what the penalties are to leave.
        separable: (c, kh, kw) where L is to be separable.
        penalty: t.
    """

    axis: Axis
    taps: int
    groups: int
    rank: int
    iterations: int = 100
    penalty: float = 1.0
    separable: tuple[int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Solution:
    """Where it got to.

    Attributes:
        sparse, low: S and L (n, d), of the unscaled inputs.
        norms: (groups,) of S, of the scaled inputs.
        primal, dual: relative residuals, one per iteration.
    """

    sparse: np.ndarray
    low: np.ndarray
    norms: np.ndarray
    primal: list[float]
    dual: list[float]


def solve_fit(fit: Fit, samples: ActivationSamples | None, problem: AdmmProblem) -> Solution:
    """From L = W* and S = 0, on the rows seen; without any, on the metric."""
    if samples is None and fit.plain:
        weight = fit.weight.astype(np.float32)
        return _Solver(Units(weight.shape[1]), weight.T, 0.0, PiecewiseLinear(), weight, problem).run()
    return solve(rows_for(fit, samples), fit.weight, problem)


def solve(samples: ActivationSamples, start: np.ndarray, problem: AdmmProblem) -> Solution:
    """From L = `start` (n, d) and S = 0."""
    return _Solver(
        RowInputs(samples.x, problem.taps), samples.y, samples.shift, samples.activation, start, problem
    ).run()


def rows_for(fit: Fit, samples: ActivationSamples | None) -> ActivationSamples:
    """`SAMPLES` of the rows seen; without any, rows of mean 0 whose moments are the metric, or nearly."""
    if samples is None:
        x = _metric_rows(fit)
        return ActivationSamples(x, x @ fit.weight.T.astype(np.float32), 0.0, PiecewiseLinear())
    step = max(1, len(samples.x) // SAMPLES)
    shift = samples.shift[::step] if isinstance(samples.shift, np.ndarray) else samples.shift
    return ActivationSamples(samples.x[::step], samples.y[::step], shift, samples.activation)


def _metric_rows(fit: Fit) -> np.ndarray:
    size, half = len(fit.metric), SAMPLES // 2
    rows = np.tril(positive_factor(fit.metric, lower=True)[0]).T
    if size > half:
        rows = np.random.default_rng(0).standard_normal((half, size)) @ rows / np.sqrt(size)
    drawn = rows * np.sqrt(size)
    return np.concatenate([drawn, -drawn]).astype(np.float32)


class Inputs(Protocol):
    """X, centred.

    Attributes:
        scale: (d,) what its columns were divided by.
    """

    scale: np.ndarray

    def outputs(self, weight: np.ndarray) -> np.ndarray:
        """X W^T, (m, n), of a weight (n, d)."""
        ...

    def pull(self, gap: np.ndarray) -> np.ndarray:
        """gap^T X / eta, (n, d), of a gap (m, n)."""
        ...

    def offset(self, gap: np.ndarray) -> np.ndarray | float:
        """What the bias makes up for of a gap."""
        ...


class RowInputs:
    """Sampled rows x (m, d)."""

    def __init__(self, x: np.ndarray, taps: int):
        centred = x - x.mean(0)
        self.scale = _channel_scale(centred, taps)
        self._x = centred / self.scale
        self._eta = STEP_MARGIN * _largest_eigenvalue(self._x)

    def outputs(self, weight: np.ndarray) -> np.ndarray:
        return self._x @ weight.T

    def pull(self, gap: np.ndarray) -> np.ndarray:
        return (gap - self.offset(gap)).T @ self._x / self._eta

    def offset(self, gap: np.ndarray) -> np.ndarray:
        return gap.mean(0)


class Units:
    """The d unit vectors as rows of mean 0, which an output's weights are the outputs of."""

    def __init__(self, fan_in: int):
        self.scale = np.ones(fan_in, np.float32)

    def outputs(self, weight: np.ndarray) -> np.ndarray:
        return weight.T

    def pull(self, gap: np.ndarray) -> np.ndarray:
        return gap.T / np.float32(STEP_MARGIN)

    def offset(self, gap: np.ndarray) -> float:
        return 0.0


class _Solver:
    def __init__(
        self,
        inputs: Inputs,
        wanted: np.ndarray,
        shift: np.ndarray | float,
        activation: PiecewiseLinear,
        start: np.ndarray,
        problem: AdmmProblem,
    ):
        self._inputs, self._wanted, self._shift, self._activation = inputs, wanted, shift, activation
        self._problem = problem
        self._low = (start * inputs.scale).astype(np.float32)
        self._sparse = np.zeros_like(self._low)
        self._split: np.ndarray = wanted.copy()
        self._dual_sum: np.ndarray = np.zeros_like(wanted)
        self._product: np.ndarray = inputs.outputs(self._low)
        self._thresholds = (0.0, 0.0)

    def run(self) -> Solution:
        primal, dual = list[float](), list[float]()
        for step in range(self._problem.iterations):
            adapt = 2 * step < self._problem.iterations
            self._move_sparse(adapt)
            self._move_low(adapt)
            outputs = self._product + self._inputs.offset(self._split + self._dual_sum - self._product)
            before = self._split
            self._split = self._split_of(outputs - self._dual_sum)
            self._dual_sum = self._dual_sum + self._split - outputs
            size = max(float(np.linalg.norm(outputs)), 1e-30)
            primal.append(float(np.linalg.norm(self._split - outputs)) / size)
            dual.append(float(np.linalg.norm(self._split - before)) / size)
        norms = _norms(self._sparse, self._problem)
        scale = self._inputs.scale
        return Solution(self._sparse / scale, self._low / scale, norms, primal, dual)

    def _split_of(self, values: np.ndarray) -> np.ndarray:
        wanted, shift = self._wanted, self._shift
        return convex_split(wanted + shift, values + shift, self._problem.penalty, self._activation) - shift

    def _pull(self) -> np.ndarray:
        """(P - M - U)^T X / eta; b centres P - M - U."""
        return self._inputs.pull(self._product - self._split - self._dual_sum)

    def _move_sparse(self, adapt: bool) -> None:
        moved = self._sparse - self._pull()
        norms = _norms(moved, self._problem)
        if adapt:
            self._thresholds = _after(norms, self._problem.groups), self._thresholds[1]
        kept = np.maximum(0, 1 - self._thresholds[0] / np.maximum(norms, 1e-30))
        self._sparse = _spread(moved, kept, self._problem)
        self._product = self._inputs.outputs(self._sparse + self._low)

    def _move_low(self, adapt: bool) -> None:
        arranged = _arranged(self._low - self._pull(), self._problem.separable)
        tall = arranged.shape[0] > arranged.shape[1]
        moved = arranged.T if tall else arranged
        squares, vectors = np.linalg.eigh(moved @ moved.T)
        values = np.sqrt(np.maximum(squares, 0))
        if adapt:
            self._thresholds = self._thresholds[0], _after(values, self._problem.rank)
        kept = np.maximum(0, 1 - self._thresholds[1] / np.maximum(values, 1e-30))
        lowered = ((vectors * kept) @ (vectors.T @ moved)).astype(np.float32)
        self._low = _restored(lowered.T if tall else lowered, self._low.shape, self._problem.separable)
        self._product = self._inputs.outputs(self._sparse + self._low)


def _arranged(weight: np.ndarray, shape: tuple[int, int, int] | None) -> np.ndarray:
    """(n, c kh kw) as (n kw, c kh)."""
    if shape is None:
        return weight
    channels, height, width = shape
    return weight.reshape(-1, channels * height, width).swapaxes(1, 2).reshape(-1, channels * height)


def _restored(matrix: np.ndarray, flat: tuple[int, ...], shape: tuple[int, int, int] | None) -> np.ndarray:
    if shape is None:
        return matrix
    channels, height, width = shape
    return matrix.reshape(-1, width, channels * height).swapaxes(1, 2).reshape(flat)


def _channel_scale(centred: np.ndarray, taps: int) -> np.ndarray:
    """The standard deviation of every channel, for each of its columns; of a dead channel that of them all."""
    variance = np.square(centred).mean(0).reshape(-1, taps).mean(1)
    floor = max(float(variance.mean()) * 1e-6, 1e-30)
    return np.repeat(np.sqrt(np.maximum(variance, floor)), taps).astype(np.float32)


def _largest_eigenvalue(x: np.ndarray, steps: int = 30) -> float:
    """Of x^T x, by the power method."""
    vector = np.cos(np.arange(x.shape[1], dtype=np.float32))  # far from any structure of x
    return max([_grown(x, vector) for _ in range(steps)][-1], 1e-30)


def _grown(x: np.ndarray, vector: np.ndarray) -> float:
    """One step of the power method, in place; by how much the unit vector grew."""
    vector /= max(float(np.linalg.norm(vector)), 1e-30)
    vector[:] = x.T @ (x @ vector)
    return float(np.linalg.norm(vector))


def _after(values: np.ndarray, count: int) -> float:
    """The largest value but `count`."""
    return float(np.sort(values)[-count - 1]) if count < len(values) else 0.0


def _norms(weight: np.ndarray, problem: AdmmProblem) -> np.ndarray:
    if problem.axis == "rows":
        return np.linalg.norm(weight, axis=1)
    return np.linalg.norm(weight.reshape(len(weight), -1, problem.taps), axis=(0, 2))


def _spread(weight: np.ndarray, factors: np.ndarray, problem: AdmmProblem) -> np.ndarray:
    """Every group of `weight` times its factor."""
    if problem.axis == "rows":
        return (weight * factors[:, None]).astype(np.float32)
    return (weight * np.repeat(factors, problem.taps)).astype(np.float32)
