"""Rows of layers whose input is rounded to a grid of 8 bits: x as the quantized layer reads it.

They are read off in the run that finds the ranges (`calibration.histograms`), as they are; when a layer is rounded its
rows become codes, a byte a value. What the float layer makes of the rows before they are rounded, y = W x + b, is kept
for about `JUDGED` of them; of all its mean is known, W E[x] + b.

A second run for the rows, once the ranges are known, takes longer. All of `quantize`, processor seconds with it and
without, on a shared machine (EfficientNet the mean of two runs; 512 pictures, 64 for DeepLab):

    SqueezeNet 1.1    13.5    12.0        EfficientNet-Lite0    24.2    22.6        DeepLab v3    14.9    13.6

A layer has `PER_INPUT` rows for every input, but no fewer than `LEAST` and no more than `MOST`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.convs import find_convs
from ..compiler.graph.gemms import find_gemms
from ..compiler.graph.quantization.quantizers import Grid
from .disk_backed_arrays import DiskBackedArrays
from .rows import Layer, RowReader, is_too_wide, stored_weight

MEMORY = 8 << 20
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


class InputRows:
    """Rows of layers, spread over the first `samples` of a run; where a sample has too few of them, over more samples.

    They are held as they are, as no range is known before all of the data was seen: `MEMORY` bytes of them in buffers,
    the others in a temporary file. As arrays between what runs of the network allocate they would keep several times as
    much from being given back.
    """

    def __init__(self, layers: Sequence[Layer], samples: int, rng: np.random.Generator) -> None:
        store, share = DiskBackedArrays(), MEMORY // max(1, len(layers))
        self._sampled = {layer.name: _Sampled(layer, samples, store, share) for layer in layers}
        self._rng, self._lock = rng, Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._sampled

    def tensors(self) -> set[str]:
        """Inputs of the layers."""
        return {sampled.layer.input.name for sampled in self._sampled.values()}

    def add(self, values: Mapping[str, np.ndarray]) -> None:
        """The inputs of the layers for a batch, by tensor."""
        for sampled in self._sampled.values():
            sampled.add(values[sampled.layer.input.name], self._rng)

    def take(self, name: str, grid: Grid | None) -> RoundedInputs:
        """The rows of a layer, rounded; they are given up. Threads may call it at once."""
        with self._lock:
            return self._sampled.pop(name).result(grid)


class _Sampled:
    """The rows of a layer, filled batch by batch: `most` of them, or fewer where there are not as many.

    A buffer of about `held` bytes is filled, and goes into the file when it is full.
    """

    def __init__(self, layer: Layer, samples: int, store: DiskBackedArrays, held: int) -> None:
        self.layer, self._store = layer, store
        share = -(-_wanted(layer) // samples)
        self._most = most = share * samples
        self._reader = RowReader(layer, share)
        weight, bias = stored_weight(layer)
        self._weight, self._bias = np.swapaxes(weight, 1, 2), bias[:, None]
        self._step = max(1, most // JUDGED)
        chosen, (group, fan_in, outputs) = -(-most // self._step), self._weight.shape
        self._chosen = np.empty(chosen, np.intp)
        self._outputs = np.empty((group, chosen, outputs), np.float32)
        self._total = np.zeros((group, fan_in))
        self._count = self._judged = self._filled = 0
        self._buffer = np.empty((min(most, 1 + held // (4 * group * fan_in)), group, fan_in), np.float32)
        self._parts: list[int] = []

    def add(self, x: np.ndarray, rng: np.random.Generator) -> None:
        left = self._most - self._count
        if not left or not len(x):
            return
        rows = self._reader.read(x, rng)[:left]
        chosen = np.arange(-self._count % self._step, len(rows), self._step)
        judged = slice(self._judged, self._judged + len(chosen))
        self._chosen[judged] = self._count + chosen
        self._outputs[:, judged] = self._computed(rows[chosen].transpose(1, 0, 2))
        self._total += rows.sum(axis=0, dtype=np.float64)
        self._count, self._judged = self._count + len(rows), judged.stop
        self._keep(rows)

    def _keep(self, rows: np.ndarray) -> None:
        while len(rows):
            if self._filled == len(self._buffer):
                self._parts.append(len(self._store))
                self._store.add(self._buffer, to_file=True)
                self._filled = 0
            fitting = rows[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(fitting)] = fitting
            self._filled, rows = self._filled + len(fitting), rows[len(fitting) :]

    def result(self, grid: Grid | None) -> RoundedInputs:
        """The rows, which are given up."""
        mean_y = self._computed(self._total[:, None] / max(1, self._count))[:, 0]
        codes = np.concatenate([rows if grid is None else grid.codes(rows) for rows in self._kept()])
        return RoundedInputs(codes, grid, mean_y, self._chosen[: self._judged], self._outputs[:, : self._judged])

    def _kept(self) -> Iterator[np.ndarray]:
        """Part by part."""
        for part in self._parts:
            yield self._store[part]
            self._store.drop(part)
        yield self._buffer[: self._filled]

    def _computed(self, rows: np.ndarray) -> np.ndarray:
        """What the layer makes of rows (g, m, d): (g, m, n)."""
        return rows @ self._weight + self._bias


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
