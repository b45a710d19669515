"""The rows a linear layer multiplies its weight with: im2col patches of a Conv, sampled over positions.

Y = X W^T + b        X: (samples, group, d)    W: (N, d)    Y: (samples, group, N/group)
"""

from __future__ import annotations

import numpy as np

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
    taps, inside = _taps(conv, x.shape[2:], positions)
    images = x.reshape(*x.shape[:2], -1)
    rows = np.empty((*positions.shape, images.shape[1], taps.shape[2]), np.float32)
    for index, chosen in enumerate(taps):
        patches = images[index].take(chosen, axis=1)
        if inside is not None:
            patches = np.where(inside[index], patches, np.float32(0))
        rows[index] = patches.transpose(1, 0, 2)
    return rows.reshape(positions.size, conv.group, -1)


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


def _taps(conv: Conv, spatial: tuple[int, ...], positions: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Where the taps of the kernel lie in the flat input, (images, count, taps), and whether they are inside of it;
    None where all are."""
    pads = conv.pads(spatial)
    padded = any(map(any, pads))
    if not padded and max(*conv.kernel, *conv.strides) == 1:
        return positions[..., None], None
    outputs = np.unravel_index(positions, output_shape(conv, spatial))
    offsets = np.unravel_index(np.arange(int(np.prod(conv.kernel))), conv.kernel)
    flat = np.zeros((*positions.shape, len(offsets[0])), np.intp)
    inside = np.ones(flat.shape, bool)
    layout = zip(outputs, offsets, spatial, pads, conv.strides, conv.dilations, strict=True)
    for output, offset, size, (begin, _), stride, dilation in layout:
        at = output[..., None] * stride + offset * dilation - begin
        inside &= (at >= 0) & (at < size)
        flat = flat * size + np.clip(at, 0, size - 1)
    return flat, inside if padded else None
