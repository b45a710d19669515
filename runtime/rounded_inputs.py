"""Rows of layers whose input is rounded to a grid of 8 bits: x as the quantized layer reads it.

They are kept as codes, a byte a value, and all layers share one run over the data, as far as their rows stay within
`MEMORY` bytes together. What the float layer makes of the rows before they are rounded, y = W x + b, is kept for about
`JUDGED` of them; of all its mean is known, W E[x] + b.

A layer has `PER_INPUT` rows for every input, but no fewer than `LEAST` and no more than `MOST`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.convs import find_convs
from ..compiler.graph.gemms import find_gemms
from ..compiler.graph.quantization.quantizers import Grid
from ..compiler.pipeline.data import Data, Progress, silent
from .calibration import observe
from .rows import Layer, input_rows, is_too_wide, row_positions, stored_weight

MEMORY = 384 << 20
PER_INPUT, LEAST, MOST = 16, 2**10, 2**12
JUDGED = 2**10


@dataclass(frozen=True, eq=False)
class RoundedInputs:
    """Rows that a layer of g groups with d inputs and n outputs each reads.

    Attributes:
        codes: (rows, g, d), of the type of the grid's zero; float32 values where there is no grid.
        grid: what the codes stand for.
        mean_y: (g, n), the mean of what the float layer makes of the rows before they are rounded.
        chosen: (m,), the numbers of some rows.
        outputs: (g, m, n) float32, what the float layer makes of these.
    """

    codes: np.ndarray
    grid: Grid | None
    mean_y: np.ndarray
    chosen: np.ndarray
    outputs: np.ndarray

    @property
    def mean_x(self) -> np.ndarray:
        """(g, d) float64."""
        mean = self.codes.mean(axis=0, dtype=np.float64)
        return mean if self.grid is None else (mean - float(self.grid.zero)) * self.grid.scale

    def values(self) -> np.ndarray:
        """All rows, (g, rows, d) float32."""
        return self._values(self.codes)

    def judged(self) -> np.ndarray:
        """The chosen rows, (g, m, d) float32."""
        return self._values(self.codes[self.chosen])

    def _values(self, codes: np.ndarray) -> np.ndarray:
        by_group = codes.transpose(1, 0, 2)
        return np.array(by_group, order="C") if self.grid is None else self.grid.values(by_group)


@dataclass
class _Sampled:
    """The rows of a layer, batch by batch."""

    layer: Layer
    grid: Grid | None
    codes: list[np.ndarray] = field(default_factory=list[np.ndarray])
    chosen: list[np.ndarray] = field(default_factory=list[np.ndarray])
    outputs: list[np.ndarray] = field(default_factory=list[np.ndarray])
    sums: list[np.ndarray] = field(default_factory=list[np.ndarray])

    def add(self, x: np.ndarray, rng: np.random.Generator, limit: int) -> None:
        rows = input_rows(self.layer, x, row_positions(self.layer, x, rng, limit))
        step = max(1, _wanted(self.layer) // JUDGED)
        self.chosen.append(np.arange(0, len(rows), step) + sum(map(len, self.codes)))
        self.outputs.append(self._computed(rows[::step].transpose(1, 0, 2)).astype(np.float32))
        self.sums.append(rows.sum(axis=0, dtype=np.float64))
        self.codes.append(rows if self.grid is None else self.grid.codes(rows))

    def result(self) -> RoundedInputs:
        codes = np.concatenate(self.codes)
        self.codes.clear()
        mean_y = self._computed(np.sum(self.sums, axis=0)[:, None] / len(codes))[:, 0]
        chosen, outputs = np.concatenate(self.chosen), np.concatenate(self.outputs, axis=1)
        return RoundedInputs(codes, self.grid, mean_y, chosen, outputs)

    def _computed(self, rows: np.ndarray) -> np.ndarray:
        """What the layer makes of rows (g, m, d): (g, m, n)."""
        weight, bias = stored_weight(self.layer)
        return rows @ np.swapaxes(weight, 1, 2) + bias[:, None]


def rounded_inputs(
    graph: gs.Graph,
    layers: Sequence[Layer],
    grids: Mapping[str, Grid],
    data: Data,
    samples: int,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> dict[str, RoundedInputs]:
    """Layer name -> rows, spread over the first `samples` of `data`.

    `grids`: by tensor name; a tensor without one is taken as it is.
    """
    found: dict[str, RoundedInputs] = {}
    count = max(1, min(samples, data.samples))
    for chunk in _chunks(layers):
        sampled = [_Sampled(layer, grids.get(layer.input.name)) for layer in chunk]
        for values in observe(graph, [layer.input.name for layer in chunk], data, samples, progress, "moments"):
            for each in sampled:
                x = values[each.layer.input.name]
                each.add(x, rng, -(-_wanted(each.layer) // count) * len(x))
        found.update((each.layer.name, each.result()) for each in sampled)
    return found


def measurable(graph: gs.Graph, accepts: Callable[[gs.Node], bool]) -> list[Layer]:
    """The accepted layers whose rows can be read off their tensors: y = W x + b with the weight as it is stored.

    Fully connected ones with more than `LARGEST` inputs are left out.
    """
    convs = [conv for conv in find_convs(graph) if accepts(conv.node)]
    gemms = [gemm for gemm in find_gemms(graph) if accepts(gemm.node) and not is_too_wide(gemm)]
    return [*convs, *(gemm for gemm in gemms if all(gemm.node.attrs.get(key, 1.0) == 1.0 for key in ("alpha", "beta")))]


def _wanted(layer: Layer) -> int:
    """Rows."""
    return min(MOST, max(LEAST, PER_INPUT * layer.fan_in))


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
    """What its rows take."""
    return _wanted(layer) * layer.group * layer.fan_in
