"""What a layer loses in INT8, seen on sampled rows: the share of the variance of an output channel, 1 at most, and of a
layer the mean over channels.

    E e_n^2 / max(var(y_n), E e_n^2)        e_n = y_n - hat w_n hat x: rounded weight, rounded input

and where the result is rounded, too, before only a gate f reads it, plus the same of f(y_n) and f(y_n) - f(Q(y_n)).
Most layers of real networks lose 1e-4 to 1e-3; far more where one scale serves channels of very different ranges, as
between a SiLU and a depthwise Conv.
"""

from __future__ import annotations

import numpy as np

from ...runtime.rounded_inputs import RoundedInputs

QUIET, CONSTANT = 1e-4, 1e-2
"""What the error of a channel that hardly moves is held against: a share of the mean square of all channels, and one of
its own."""


def loss(inputs: RoundedInputs, rounded: np.ndarray, bias: np.ndarray | float) -> float:
    """What a layer loses by a rounded weight (N, d) with its bias (N,) on rounded inputs."""
    wanted, rows = inputs.outputs.astype(np.float64), inputs.judged()
    made = rows @ np.swapaxes(rounded.reshape(*inputs.mean_y.shape, -1), 1, 2)
    made += np.broadcast_to(bias, rounded.shape[:1]).reshape(len(rows), 1, -1)
    return share_lost(wanted, wanted - made)


def share_lost(wanted: np.ndarray, errors: np.ndarray) -> float:
    """Of rows (g, m, n) and their errors."""
    squares = np.square(errors).mean(axis=1)
    return float((squares / np.maximum(channel_variance(wanted), squares)).mean())


def channel_variance(wanted: np.ndarray) -> np.ndarray:
    """Of rows (g, m, n): (g, n), what the errors are held against."""
    squares = np.square(wanted).mean(axis=1)
    least = max(QUIET * float(squares.mean()), float(np.finfo(np.float32).tiny))
    return np.max([wanted.var(axis=1), CONSTANT * squares, np.full(squares.shape, least)], axis=0)
