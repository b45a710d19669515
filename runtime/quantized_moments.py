"""Moments of layers whose input is rounded to a grid of 8 bits: x as the quantized layer reads it, y as the float layer
wrote it.

    x = Q(input) in patches, y = output        XX = E[x x^T], YX = E[y x^T]

They hold all that a fit of a layer's weight and bias to its rounded input needs. Layers share runs over the data as
far as their moments stay within `MEMORY` bytes together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.convs import find_convs
from ..compiler.graph.gemms import find_gemms
from ..compiler.graph.quantization.quantizers import Grid
from ..compiler.pipeline.data import Data, Progress, silent
from .calibration import observe
from .moments import Moments, MomentSum
from .rows import Layer, input_rows, is_too_wide, row_positions, target_rows

MEMORY = 512 << 20


def quantized_moments(
    graph: gs.Graph,
    layers: Sequence[Layer],
    grids: Mapping[str, Grid],
    data: Data,
    samples: int,
    rows: int,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> dict[str, Moments]:
    """Layer name -> moments, from about `rows` rows a layer, spread over the first `samples` of `data`.

    `grids`: by tensor name; a tensor without one is taken as it is.
    """
    found: dict[str, Moments] = {}
    share = rows / max(1, min(samples, data.samples))
    for chunk in _chunks(layers):
        sums = {layer.name: MomentSum(layer.group, layer.fan_in, layer.filters // layer.group) for layer in chunk}
        names = [tensor.name for layer in chunk for tensor in (layer.input, layer.output)]
        for values in observe(graph, names, data, samples, progress, "moments"):
            for layer in chunk:
                x, grid = values[layer.input.name], grids.get(layer.input.name)
                x = x if grid is None else grid.rounded(x)
                positions = row_positions(layer, x, rng, round(share * len(x)))
                wanted = target_rows(layer, values[layer.output.name], positions)
                sums[layer.name].add(input_rows(layer, x, positions), wanted)
        found.update((name, total.result()) for name, total in sums.items())
    return found


def measurable(graph: gs.Graph, accepts: Callable[[gs.Node], bool]) -> list[Layer]:
    """The accepted layers whose rows can be read off their tensors: y = W x + b with the weight as it is stored.

    Fully connected ones with more than `LARGEST` inputs are left out.
    """
    convs = [conv for conv in find_convs(graph) if accepts(conv.node)]
    gemms = [gemm for gemm in find_gemms(graph) if accepts(gemm.node) and not is_too_wide(gemm)]
    return [*convs, *(gemm for gemm in gemms if all(gemm.node.attrs.get(key, 1.0) == 1.0 for key in ("alpha", "beta")))]


def _chunks(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    chunk: list[Layer] = []
    for layer in layers:
        if chunk and sum(map(_bytes, chunk)) + _bytes(layer) > MEMORY:
            yield chunk
            chunk = []
        chunk.append(layer)
    if chunk:
        yield chunk


def _bytes(layer: Layer) -> int:
    """What its moments take."""
    return 8 * (layer.fan_in + 1) * (layer.group * (layer.fan_in + 1) + layer.filters)
