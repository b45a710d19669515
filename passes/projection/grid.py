"""Weights on a symmetric INT8 grid.

A filter w (one row of W, N x d) becomes s * q with integers q in [-128, 127] and one scale s > 0 per row. Of fewer bits
b than 8 they are in [-h - 1, h], h = 2^(b - 1) - 1.

    nearest     q = clip(round(w / s)),   s = c max|w| / h,   c = argmin over clip ratios of sum_j M_jj (w_j - s q_j)^2
    feedback    as above, but the columns are rounded one after another, each to what makes up best for the errors of
                those before it, so that w - s q is small in the metric M and not entry by entry
                (`projection.error_compensation`)

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

because INT8 kernels hold b / (s_x s) in 32 bits, rounded, beside sums of products for which 2^30 is left. Where that
bound is met (a filter that is nearly dead), rounding errs by no more than float32 does when it adds to the bias.

Sources: Hassibi & Stork 1993 (Optimal Brain Surgeon); Frantar & Alistarh 2022, "Optimal Brain Compression", sections
3-4; Frantar et al. 2022, GPTQ, algorithm 1 (Cholesky form, columns in blocks).
"""

from __future__ import annotations

import numpy as np

from .blocks import row_blocks
from .error_compensation import compensate_errors
from .fit import TINY as LEAST_RIDGE

BITS, HIGH = 8, 127
CODES = 2**BITS - 1
DEAD = 1 / HIGH
"""The scale of a tensor of zeros: values up to 1 fit, and the bias of a layer that reads it keeps its digits."""
SPREAD = 1e-6
TINY = 1e-12
STABLE = 1e-6
BIAS_CODES = 2**30
RATIOS = np.linspace(1.0, 0.7, 13)
NONE = np.zeros((), np.float32)


def safe_scale(scale: np.ndarray) -> np.ndarray:
    """`scale` (any shape) as float32 with every entry positive and normal; all dead gives `DEAD`."""
    finite = np.where(np.isfinite(scale) & (scale > 0), scale, 0.0)
    top = float(finite.max(initial=0.0))
    if top <= 0.0:
        return np.full(np.shape(scale), DEAD, np.float32)
    floored = np.where(finite > 0, finite, top)
    return np.maximum(floored, max(top * SPREAD, TINY)).astype(np.float32)


def least_scale(bias: np.ndarray, input_scale: float) -> np.ndarray:
    """The least scale per row with which |bias| (N,) is at most `BIAS_CODES` steps, as float32."""
    return (np.abs(bias.astype(np.float64)) / (input_scale * BIAS_CODES)).astype(np.float32)


def round_bias(bias: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The nearest whole multiples of `step`, (N,) or () as `bias`, float32 as engines compute them."""
    steps = np.rint(bias.astype(np.float32) / step.astype(np.float32))
    return steps * step.astype(np.float32)


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

    `metric`: (d, d), or (g, d, d) where the rows are those of g groups; `compensate`: with feedback.
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


def relative_error(weight: np.ndarray, rounded: np.ndarray, inputs: np.ndarray | None = None) -> float:
    """The part of the output energy that rounding loses, on the centred `inputs` (g, n, d), if there are any."""
    total = _output_energy(weight, inputs)
    return _output_energy(weight - rounded, inputs) / total if total > 0 else 0.0


def _output_energy(weight: np.ndarray, inputs: np.ndarray | None) -> float:
    if inputs is None:
        return float(metric_error(weight, None).sum())
    outputs = inputs @ np.swapaxes(weight.reshape(len(inputs), -1, weight.shape[1]), 1, 2)
    return float(np.square(outputs, dtype=np.float64).sum())


def input_metric(inputs: np.ndarray, ridge: float) -> np.ndarray:
    """M = C + l I, (g, d, d), of the centred `inputs` (g, n, d), by their type; l = ridge * mean diagonal of C."""
    metric = np.swapaxes(inputs, 1, 2) @ inputs
    metric /= max(1, inputs.shape[1])
    diagonal = np.einsum("gdd->gd", metric)
    mean = diagonal.mean(axis=1, keepdims=True)
    if not np.isfinite(mean).all():
        raise FloatingPointError("the squares of what the layer reads overflow")
    diagonal += np.maximum(ridge * mean, LEAST_RIDGE)
    return metric


def metric_error(error: np.ndarray, metric: np.ndarray | None) -> np.ndarray:
    """Per row e M e^T; the squared norm where there is no metric."""
    weighted = error if metric is None else error @ metric
    return np.einsum("nd,nd->n", weighted, error)


def search_scale(weight: np.ndarray, metric: np.ndarray | None = None, bits: int = BITS) -> np.ndarray:
    """The scale per row, of `RATIOS` of the full one, whose nearest rounding errs least in the metric's diagonal."""
    energies = np.ones((1, weight.shape[1])) if metric is None else np.diagonal(_by_group(metric), axis1=1, axis2=2)
    group = np.arange(len(weight)) * len(energies) // len(weight)
    full = row_scale(weight, bits)
    scales = [safe_scale(full * ratio) for ratio in RATIOS]
    errors = np.empty((len(scales), len(full)))
    for rows in row_blocks(weight):
        weights = energies[group[rows]]
        for index, scale in enumerate(scales):
            rounded = from_grid(round_to_grid(weight[rows], scale[rows], bits), scale[rows])
            with np.errstate(over="ignore", invalid="ignore"):  # the full scale is best where no error can be told
                errors[index, rows] = np.einsum("nd,nd->n", np.square(weight[rows] - rounded), weights)
    return np.choose(np.fmin(errors, np.inf).argmin(axis=0), scales)


def feedback(weight: np.ndarray, scale: np.ndarray, metric: np.ndarray, bits: int = BITS) -> np.ndarray:
    """Codes (N, d) whose error is small in `metric`, (d, d) or (g, d, d); see the module docstring.

    It must be positive definite.
    """
    groups = _by_group(metric)
    steps, high = scale.reshape(len(groups), -1), highest(bits)

    def nearest(column: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(column / steps), -high - 1, high) * steps

    grouped = weight.reshape(*steps.shape, -1)
    if len(groups) == 1:  # a single large one is factored in place
        grouped, groups, steps = grouped[0], groups[0], steps[0]
    while True:
        try:
            rounded = compensate_errors(grouped, groups, nearest).reshape(weight.shape)
            break
        except np.linalg.LinAlgError:  # of float32, where a few directions hold nearly all of the energy
            groups = groups + STABLE * np.trace(groups, axis1=-2, axis2=-1)[..., None, None] * np.eye(weight.shape[1])
    return np.rint(rounded / scale[:, None]).astype(np.int8)


def _by_group(metric: np.ndarray) -> np.ndarray:
    return metric if metric.ndim == 3 else metric[None]
