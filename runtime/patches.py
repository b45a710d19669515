"""The rows a linear layer multiplies its weight with: im2col patches of a Conv, sampled over positions.

Y = X W^T + b        X: (samples, group, d)    W: (N, d)    Y: (samples, group, N/group)
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..compiler.graph.convs import Conv

EVERY = slice(None)


def sample_positions(rng: np.random.Generator, images: int, spatial: tuple[int, ...], limit: int) -> np.ndarray:
    """At most `limit` (but one per image) output positions, the same number in each: flat, sorted, (images, count)."""
    positions = int(np.prod(spatial))
    count = min(positions, max(1, limit // images))
    if count == positions:
        return np.broadcast_to(np.arange(positions), (images, positions))
    return np.sort(rng.random((images, positions)).argpartition(count, axis=1)[:, :count], axis=1)


def conv_patches(conv: Conv, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The patches that `conv` sees at flat output `positions` (images, count) of input `x` (images, C, ...).

    Returns:
        (images * count, group, d) float32, d in the order of the flattened weight (C/g, k...).
    """
    windows = _windows(conv, x.astype(np.float32, copy=False))
    rank = len(conv.kernel)
    if conv.fan_in == windows.shape[1] // conv.group:
        return output_rows(windows.reshape(windows.shape[: 2 + rank]), positions, conv.group)
    grid = np.unravel_index(positions.reshape(-1), windows.shape[2 : 2 + rank])
    images = np.repeat(np.arange(len(x)), positions.shape[1])
    rows = windows[(images, slice(None), *grid)]
    return rows.reshape(len(rows), conv.group, -1)


def output_shape(conv: Conv, spatial: tuple[int, ...]) -> tuple[int, ...]:
    """Spatial size of the output for an input of size `spatial`."""
    pads = conv.pads(spatial)
    extents = [d * (k - 1) + 1 for d, k in zip(conv.dilations, conv.kernel, strict=True)]
    return tuple(
        (size + begin + end - extent) // stride + 1
        for size, (begin, end), extent, stride in zip(spatial, pads, extents, conv.strides, strict=True)
    )


def output_rows(y: np.ndarray, positions: np.ndarray, group: int, channels: np.ndarray | slice = EVERY) -> np.ndarray:
    """The outputs (images, N, ...) at the same positions: (images * count, group, N/group) float32.

    `channels`: those of the N that are wanted.
    """
    images = y.reshape(*y.shape[:2], -1)[:, channels].transpose(0, 2, 1)
    rows = np.empty((*positions.shape, images.shape[2]), np.float32)
    for index, chosen in enumerate(positions):  # for all at once NumPy copies twice
        rows[index] = images[index][chosen]
    return rows.reshape(positions.size, group, -1)


def _windows(conv: Conv, x: np.ndarray) -> np.ndarray:
    """A view (images, C, out..., k...) of the padded input."""
    pads = [(0, 0), (0, 0), *conv.pads(x.shape[2:])]
    padded = np.pad(x, pads) if np.any(pads) else x
    extents = tuple(d * (k - 1) + 1 for d, k in zip(conv.dilations, conv.kernel, strict=True))
    view = sliding_window_view(padded, extents, axis=tuple(range(2, x.ndim)))
    strided = tuple(slice(None, None, stride) for stride in conv.strides)
    dilated = tuple(slice(None, None, dilation) for dilation in conv.dilations)
    return view[(slice(None), slice(None), *strided, *dilated)]
