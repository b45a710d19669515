"""Rows of layers whose input is rounded to a grid of 8 bits: x as the quantized layer reads it.

They are kept as codes, a byte a value, and all layers share one run over the data, as far as their rows stay within
`MEMORY` bytes together. What the float layer makes of the rows before they are rounded, y = W x + b, is kept for about
`JUDGED` of them; of all its mean is known, W E[x] + b.

A layer has `PER_INPUT` rows for every input, but no fewer than `LEAST` and no more than `MOST`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.convs import find_convs
from ..compiler.graph.gemms import find_gemms
from ..compiler.graph.quantization.quantizers import Grid
from ..compiler.jobs import single_threaded
from ..compiler.pipeline.data import Data, Progress, silent
from .calibration import observe
from .rows import Layer, input_rows, is_too_wide, row_positions, stored_weight

MEMORY = 384 << 20
PER_INPUT, LEAST, MOST = 16, 2**9, 2**12
JUDGED = 2**9


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
    """The rows of a layer, filled batch by batch: `most` of them, or fewer where there are not as many."""

    layer: Layer
    grid: Grid | None
    most: int
    count: int = 0
    judged: int = 0

    def __post_init__(self) -> None:
        weight, bias = stored_weight(self.layer)
        self._weight, self._bias = np.swapaxes(weight, 1, 2), bias[:, None]
        self._step = max(1, self.most // JUDGED)
        chosen, (group, fan_in, outputs) = -(-self.most // self._step), self._weight.shape
        self._codes = np.empty((self.most, group, fan_in), np.float32 if self.grid is None else self.grid.zero.dtype)
        self._chosen = np.empty(chosen, np.intp)
        self._outputs = np.empty((group, chosen, outputs), np.float32)
        self._total = np.zeros((group, fan_in))

    def add(self, x: np.ndarray, rng: np.random.Generator, limit: int) -> None:
        rows = input_rows(self.layer, x, row_positions(self.layer, x, rng, limit))[: self.most - self.count]
        end = self.count + len(rows)
        chosen = np.arange(-self.count % self._step, len(rows), self._step)
        judged = slice(self.judged, self.judged + len(chosen))
        self._chosen[judged] = self.count + chosen
        self._outputs[:, judged] = self._computed(rows[chosen].transpose(1, 0, 2))
        self._total += rows.sum(axis=0, dtype=np.float64)
        self._codes[self.count : end] = rows if self.grid is None else self.grid.codes(rows)
        self.count, self.judged = end, judged.stop

    def result(self) -> RoundedInputs:
        mean_y = self._computed(self._total[:, None] / max(1, self.count))[:, 0]
        chosen, outputs = self._chosen[: self.judged], self._outputs[:, : self.judged]
        return RoundedInputs(self._codes[: self.count], self.grid, mean_y, chosen, outputs)

    def _computed(self, rows: np.ndarray) -> np.ndarray:
        """What the layer makes of rows (g, m, d): (g, m, n)."""
        return rows @ self._weight + self._bias


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
        shares = [-(-_wanted(layer) // count) for layer in chunk]
        sampled = [
            _Sampled(layer, grids.get(layer.input.name), share * count)
            for layer, share in zip(chunk, shares, strict=True)
        ]
        with single_threaded():
            for values in observe(graph, [layer.input.name for layer in chunk], data, samples, progress, "moments"):
                for each, share in zip(sampled, shares, strict=True):
                    x = values[each.layer.input.name]
                    each.add(x, rng, share * len(x))
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
