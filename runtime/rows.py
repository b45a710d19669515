"""A linear layer as rows: the inputs that it multiplies its weight with, and the outputs at the same positions.

Of a Conv some output positions are sampled, of a fully connected layer every sample is a row.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.convs import Conv
from ..compiler.graph.gemms import Gemm
from .patches import EVERY, Taps, conv_patches, output_rows, output_shape, sample_positions

Layer = Conv | Gemm
LARGEST = 8192
"""Inputs of a fully connected layer whose moments are taken: 512 MB of float64."""
Positions = np.ndarray | None
"""Flat output positions of a Conv, (images, count); None for a fully connected layer."""
AHEAD = 16
"""Samples that positions are drawn for at once."""


def is_too_wide(layer: Layer) -> bool:
    """Whether it is fully connected, with more than `LARGEST` inputs."""
    return isinstance(layer, Gemm) and layer.fan_in > LARGEST


def in_graph_order(graph: gs.Graph, layers: Iterable[Layer]) -> list[Layer]:
    """The layers in the order of their nodes, of the first where they have several."""
    by_node = {id(layer.node): layer for layer in layers}
    return [by_node[id(node)] for node in graph.nodes if id(node) in by_node]


def stored_weight(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """(g, n, d) and (g, n): weight and bias by group, zeros where there is no bias."""
    weight = layer.matrix().reshape(layer.group, -1, layer.fan_in)
    return weight, np.zeros(weight.shape[:2]) if layer.bias is None else layer.bias.reshape(layer.group, -1)


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


class RowReader:
    """Rows of a layer's input, batch by batch: about `share` of every sample.

    Positions are drawn for several samples at once, as batches may be of one.
    """

    def __init__(self, layer: Layer, share: int) -> None:
        self._layer, self._share = layer, share
        self._spatial: tuple[int, ...] = ()
        self._ahead: Taps | None = None

    def read(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Of the input `x` (samples, C, ...): (rows, g, d) float32."""
        if isinstance(self._layer, Gemm):
            return input_rows(self._layer, x, None)
        ahead = self._ahead
        if ahead is None or self._spatial != x.shape[2:] or len(ahead) < len(x):
            ahead, self._spatial = self._drawn(self._layer, max(len(x), AHEAD), x.shape[2:], rng), x.shape[2:]
        self._ahead = ahead[len(x) :]
        return ahead[: len(x)].patches(x)

    def _drawn(self, conv: Conv, images: int, spatial: tuple[int, ...], rng: np.random.Generator) -> Taps:
        positions = sample_positions(rng, images, output_shape(conv, spatial), self._share * images)
        return Taps.at(conv, spatial, positions)


def target_rows(layer: Layer, y: np.ndarray, positions: Positions, channels: np.ndarray | slice = EVERY) -> np.ndarray:
    """(samples, g, n) float32 of a tensor `y` of the output's shape, or of those of its channels that are named."""
    if positions is None:
        return y[:, None, channels].astype(np.float32, copy=False)
    return output_rows(y, positions, layer.group, channels)
