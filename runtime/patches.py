"""The rows a linear layer multiplies its weight with: im2col patches of a Conv, sampled over positions.

Y = X W^T + b        X: (samples, group, d)    W: (N, d)    Y: (samples, group, N/group)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from ..compiler.graph.convs import Conv

EVERY = slice(None)


def sample_positions(rng: np.random.Generator, images: int, spatial: tuple[int, ...], limit: int) -> np.ndarray:
    """At most `limit` (but one per image) output positions, the same number in each: flat, sorted, (images, count).

    One in each of `count` parts of the flat map, that are as long as each other to a position and begin anywhere: every
    position is as likely as another, and the map is covered evenly.
    """
    positions = prod(spatial)
    count = min(positions, max(1, limit // images))
    if count == positions:
        return np.broadcast_to(np.arange(positions), (images, positions))
    bounds = np.arange(count + 1) * positions // count
    draws = rng.random((images, count + 1))
    chosen = bounds[:-1] + (draws[:, 1:] * np.diff(bounds)).astype(np.intp)
    begins = (draws[:, :1] * positions).astype(np.intp)
    return np.sort((chosen + begins) % positions, axis=1)


def conv_patches(conv: Conv, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The patches that `conv` sees at flat output `positions` (images, count) of input `x` (images, C, ...).

    Returns:
        (images * count, group, d) float32, d in the order of the flattened weight (C/g, k...).
    """
    return Taps.at(conv, x.shape[2:], positions).patches(x)


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


@dataclass(frozen=True, eq=False)
class Taps:
    """Where the taps of a kernel lie in the flat input of a Conv.

    Attributes:
        flat: (images, count, taps).
        inside: of the same shape, False where a tap lies in the padding; None where none does.
    """

    group: int
    flat: np.ndarray
    inside: np.ndarray | None

    @classmethod
    def at(cls, conv: Conv, spatial: tuple[int, ...], positions: np.ndarray) -> Taps:
        """For flat output `positions` (images, count) and an input of size `spatial`."""
        pads = conv.pads(spatial)
        padded = any(map(any, pads))
        if not padded and max(*conv.kernel, *conv.strides) == 1:
            return cls(conv.group, positions[..., None], None)
        outputs = np.unravel_index(positions, output_shape(conv, spatial))
        flat, inside = np.zeros(1, np.intp), None
        layout = zip(outputs, _offsets(conv.kernel), spatial, pads, conv.strides, conv.dilations, strict=True)
        for output, offset, size, (begin, _), stride, dilation in layout:
            at = output[..., None] * stride + (offset * dilation - begin)
            if padded:
                within = np.minimum(np.maximum(at, 0), size - 1)  # np.clip takes three times as long for a few rows
                here, at = within == at, within
                inside = here if inside is None else inside & here
            flat = flat * size + at
        return cls(conv.group, flat, inside)

    def __len__(self) -> int:
        """Images."""
        return len(self.flat)

    def __getitem__(self, images: slice) -> Taps:
        return Taps(self.group, self.flat[images], None if self.inside is None else self.inside[images])

    def patches(self, x: np.ndarray) -> np.ndarray:
        """Of an input (images, C, ...) of as many images: (images * count, group, d) float32."""
        images = x.reshape(*x.shape[:2], -1)
        rows = np.empty((len(self), self.flat.shape[1], images.shape[1], self.flat.shape[2]), np.float32)
        for index, chosen in enumerate(self.flat):
            patches = images[index].take(chosen, axis=1)
            if self.inside is not None:
                patches = np.where(self.inside[index], patches, np.float32(0))
            rows[index] = patches.transpose(1, 0, 2)
        return rows.reshape(len(self) * self.flat.shape[1], self.group, -1)


@lru_cache
def _offsets(kernel: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Of its taps, by dimension."""
    return np.unravel_index(np.arange(prod(kernel)), kernel)
