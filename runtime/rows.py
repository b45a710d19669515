"""The rows of a layer on a batch: the inputs that it multiplies its weight with, and the outputs at the same positions.

Of a Conv some output positions are sampled, of a fully connected layer every sample is a row.
"""

from __future__ import annotations

import numpy as np

from ..compiler.graph.convs import Conv
from ..compiler.graph.gemms import Gemm
from .patches import EVERY, conv_patches, output_rows, output_shape, sample_positions

Layer = Conv | Gemm
Positions = np.ndarray | None
"""Flat output positions of a Conv, (images, count); None for a fully connected layer."""


def row_positions(layer: Layer, x: np.ndarray, rng: np.random.Generator, limit: int) -> Positions:
    """Where about `limit` rows of the input `x` are sampled."""
    if isinstance(layer, Gemm):
        return None
    return sample_positions(rng, len(x), output_shape(layer, x.shape[2:]), limit)


def input_rows(layer: Layer, x: np.ndarray, positions: Positions) -> np.ndarray:
    """(samples, g, d) float32."""
    if isinstance(layer, Gemm) or positions is None:
        return x[:, None, :].astype(np.float32, copy=False)
    return conv_patches(layer, x, positions)


def target_rows(layer: Layer, y: np.ndarray, positions: Positions, channels: np.ndarray | slice = EVERY) -> np.ndarray:
    """(samples, g, n) float32 of a tensor `y` of the output's shape, or of those of its channels that are named."""
    if positions is None:
        return y[:, None, channels].astype(np.float32, copy=False)
    return output_rows(y, positions, layer.group, channels)
