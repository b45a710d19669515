"""Weights on a symmetric INT8 grid.

A filter w (one row of W, N x d) becomes s * q with integers q in [-128, 127] and one scale s > 0 per row. Of fewer bits
b than 8 they are in [-h - 1, h], h = 2^(b - 1) - 1.

    nearest     q = clip(round(w / s)),   s = c max|w| / h,   c = argmin over clip ratios of sum_j M_jj (w_j - s q_j)^2
    feedback    as above, but the columns are rounded one after another and the error made on column j is carried to the
                columns still to come, so that w - s q is small in the metric M and not entry by entry:

                    e_j = (w_j - s q_j) / R_jj,   w_k -= e_j R_jk  (k > j),   R^T R = M^-1,  R upper triangular

Where a row has a zero point z, its codes are unsigned and its grid reaches from its least entry to its greatest:

    w ~ s (q - z),   0 <= q, z <= 255,   s = (max(w, 0) - min(w, 0)) / 255,   z = round(-min(w, 0) / s)

The search for c leaves out what is beside the diagonal, as rounding errors hardly correlate: squared errors of the
logits are the same (ResNet-20 / 56 on CIFAR-10, in 1e-3: 0.75 / 0.95, with it 0.75 / 0.96), at a fraction of the time.

Rounding is half to even, as in ONNX QuantizeLinear. M (d x d) is the metric of the inputs that the filter sees,
their covariance plus a ridge; without it the metric is the identity, and feedback is plain rounding. The mean is the
bias's work.

Scales are never zero, denormal or NaN: an engine divides a bias by (input scale * weight scale). A filter of zeros
gets the layer's largest scale, which represents it exactly; a scale is never below `SPREAD` times the layer's
largest, nor below

    b / (s_x 2^30)      b: the filter's |bias|, s_x: the scale of its inputs

because INT8 kernels hold b / (s_x s) in 32 bits, beside sums of products for which 2^30 is left. Where that bound is
met (a filter that is nearly dead), rounding errs by no more than float32 does when it adds to the bias.

Sources: Hassibi & Stork 1993 (Optimal Brain Surgeon); Frantar & Alistarh 2022, "Optimal Brain Compression", sections
3-4; Frantar et al. 2022, GPTQ, algorithm 1 (Cholesky form, columns in blocks).
"""

from __future__ import annotations

import numpy as np

from .blocks import row_blocks
from .error_compensation import compensate_errors
from .fit import ridged

BITS, HIGH = 8, 127
CODES = 2**BITS - 1
SPREAD = 1e-6
TINY = 1e-12
BIAS_CODES = 2**30
RATIOS = np.linspace(1.0, 0.7, 13)
NONE = np.zeros((), np.float32)


def safe_scale(scale: np.ndarray) -> np.ndarray:
    """`scale` (any shape) as float32 with every entry positive and normal; all dead gives ones."""
    finite = np.where(np.isfinite(scale) & (scale > 0), scale, 0.0)
    top = float(finite.max(initial=0.0))
    if top <= 0.0:
        return np.ones(np.shape(scale), np.float32)
    floored = np.where(finite > 0, finite, top)
    return np.maximum(floored, max(top * SPREAD, TINY)).astype(np.float32)


def least_scale(bias: np.ndarray, input_scale: float) -> np.ndarray:
    """The least scale per row with which |bias| (N,) is at most `BIAS_CODES` steps, as float32."""
    return (np.abs(bias.astype(np.float64)) / (input_scale * BIAS_CODES)).astype(np.float32)


def highest(bits: int) -> int:
    """The greatest code of so many bits."""
    return 2 ** (bits - 1) - 1


def row_scale(weight: np.ndarray, bits: int = BITS) -> np.ndarray:
    """The scale per row that reaches the largest entry: (N,) for W of (N, d)."""
    return safe_scale(np.abs(weight).max(axis=1) / highest(bits))


def round_to_grid(weight: np.ndarray, scale: np.ndarray, bits: int = BITS) -> np.ndarray:
    """Nearest codes, (N, d) int8, for one scale per row."""
    steps, high = np.rint(weight.astype(np.float32) / scale[:, None]), highest(bits)
    return np.clip(steps, -high - 1, high).astype(np.int8)


def from_grid(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The float32 weights that codes and scales stand for."""
    return codes.astype(np.float32) * scale[:, None]


def to_grid(
    weight: np.ndarray, metric: np.ndarray | None, compensate: bool, bits: int = BITS, least: np.ndarray = NONE
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N, d) and scales (N,), none below `least`, of `weight`, in the metric of its inputs if known.

    `compensate`: with feedback.
    """
    scale = np.maximum(search_scale(weight, metric, bits), least)
    if metric is None or not compensate:
        return round_to_grid(weight, scale, bits), scale
    return feedback(weight, scale, metric, bits), scale


def to_unsigned_grid(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest codes (N, d) uint8, scales (N,) float32 and zero points (N,) uint8 of `weight`."""
    low, high = weight.min(axis=1, initial=0.0), weight.max(axis=1, initial=0.0)
    scale = safe_scale((high - low) / CODES)
    zero, codes = np.rint(-low / scale), np.empty(weight.shape, np.uint8)
    for rows in row_blocks(weight):
        codes[rows] = np.clip(np.rint(weight[rows] / scale[rows, None]) + zero[rows, None], 0, CODES)
    return codes, scale, zero.astype(np.uint8)


def from_unsigned_grid(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """The float32 weights that codes with a zero point per row stand for."""
    return from_grid(codes.astype(np.int16) - zero[:, None], scale)


def unsigned_error(weight: np.ndarray, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> float:
    """`relative_error` of a weight on the grid of `to_unsigned_grid`."""
    lost = total = 0.0
    for rows in row_blocks(weight):
        rounded = from_unsigned_grid(codes[rows], scale[rows], zero[rows])
        lost += float(metric_error(weight[rows] - rounded, None).sum())
        total += float(metric_error(weight[rows], None).sum())
    return lost / total if total > 0 else 0.0


def relative_error(weight: np.ndarray, rounded: np.ndarray, metric: np.ndarray | None) -> float:
    """The part of the output energy that rounding loses."""
    total = float(metric_error(weight, metric).sum())
    return float(metric_error(weight - rounded, metric).sum()) / total if total > 0 else 0.0


def input_metric(moments: np.ndarray, ridge: float) -> np.ndarray:
    """M = C + l I, (d, d), from E[x x^T] (d + 1, d + 1) with a 1 as the last input; l: see `ridged`."""
    mean = moments[-1, :-1]
    centred = moments[:-1, :-1] - np.outer(mean, mean)
    return ridged(moments, centred, ridge)[0]


def metric_error(error: np.ndarray, metric: np.ndarray | None) -> np.ndarray:
    """Per row e M e^T; the squared norm where there is no metric."""
    weighted = error if metric is None else error @ metric
    return np.einsum("nd,nd->n", weighted, error)


def search_scale(weight: np.ndarray, metric: np.ndarray | None = None, bits: int = BITS) -> np.ndarray:
    """The scale per row, of `RATIOS` of the full one, whose nearest rounding errs least in the metric's diagonal."""
    weights = np.ones(weight.shape[1]) if metric is None else np.diagonal(metric)
    full = row_scale(weight, bits)
    scales = [safe_scale(full * ratio) for ratio in RATIOS]
    errors = np.empty((len(scales), len(full)))
    for rows in row_blocks(weight):
        for index, scale in enumerate(scales):
            rounded = from_grid(round_to_grid(weight[rows], scale[rows], bits), scale[rows])
            with np.errstate(over="ignore", invalid="ignore"):  # the full scale is best where no error can be told
                errors[index, rows] = np.square(weight[rows] - rounded) @ weights
    return np.choose(np.fmin(errors, np.inf).argmin(axis=0), scales)


def feedback(weight: np.ndarray, scale: np.ndarray, metric: np.ndarray, bits: int = BITS) -> np.ndarray:
    """Codes (N, d) whose error is small in `metric` (d, d); see the module docstring.

    Columns go in the order of falling energy. It must be positive definite.
    """

    def nearest(column: np.ndarray) -> np.ndarray:
        return round_to_grid(column[:, None], scale, bits)[:, 0] * scale

    rounded = compensate_errors(weight, metric, nearest)
    return np.rint(rounded / scale[:, None]).astype(np.int8)
