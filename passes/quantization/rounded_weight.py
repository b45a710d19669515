"""A weight on its grid, with the biases of the layers that read it: steps 3 and 4 of `quantize`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.qdq import QuantizedTensor
from ...compiler.graph.quantization.quantizable import channel_axis
from ...compiler.graph.quantization.quantizers import Grid
from ...compiler.pipeline.traces import Spread, weight_spread
from ...runtime.rounded_inputs import InputRows, RoundedInputs
from ..projection.grid import (
    BITS,
    from_grid,
    highest,
    input_metric,
    least_scale,
    relative_error,
    round_to_grid,
    row_scale,
    to_grid,
)
from .activation_grids import ActivationGrids, settings
from .biases import Biases, corrected, in_steps, largest_bias, stored_bias
from .losses import loss
from .weight_only import LayerReport, channel_rows

RIDGE = 1e-2


@dataclass(frozen=True, eq=False)
class RoundedWeight:
    """A weight on its grid, and what goes with it in the layers that read it.

    Attributes:
        codes, scale: (N, d) int8, and (N,) or ().
        biases: new ones, by layer.
        loss: see `losses`; of several layers the largest, None where it is not known.
        reports: figures of each layer, for the report.
    """

    codes: np.ndarray
    scale: np.ndarray
    biases: Biases
    loss: float | None
    reports: Mapping[str, LayerReport]
    spread: Spread

    def values(self) -> np.ndarray:
        """(N, d) float32."""
        return from_grid(self.codes, np.broadcast_to(self.scale, len(self.codes)))


@dataclass(frozen=True, eq=False)
class WeightRounding:
    """How weights are rounded.

    Attributes:
        activations: the grids of what the layers read; none yet where there is no data.
        compensate: round with error feedback.
        shift_bias: keep the mean of every output channel.
        per_channel: one scale per output channel, else one per weight.
    """

    activations: ActivationGrids
    compensate: bool
    shift_bias: bool
    per_channel: bool

    def round(self, entry: QuantizedTensor, kept: InputRows | None) -> RoundedWeight:
        """`kept`: inputs of the layers, as far as they are known."""
        seen = self._taken(entry, kept)
        nodes = [node for node, _ in entry.slots]
        rows, _ = channel_rows(entry, channel_axis(nodes[0]))
        metric = input_metric(_centred(each.values() for each in seen.values()), RIDGE) if seen else None
        codes, scale = self._round(rows, metric, self._compensates(entry), self._least(nodes, len(rows)))
        del metric
        rounded = from_grid(codes, np.broadcast_to(scale, len(rows)))
        biases = self._biases(nodes, rounded, scale, seen)
        losses = [loss(seen[n.name], rounded, biases.get(n.name, stored_bias(n))) for n in nodes if n.name in seen]
        error = relative_error(rows, rounded, _centred(each.judged() for each in seen.values()) if seen else None)
        grids = {node.name: self.activations.of(node.inputs[0].name) for node in nodes}
        return RoundedWeight(
            codes,
            scale,
            biases,
            max(losses, default=None),
            {name: _figures(len(rows), error, grid) for name, grid in grids.items()},
            weight_spread(nodes[0].name, rows, scale * highest(self._bits)),
        )

    def _taken(self, entry: QuantizedTensor, rows: InputRows | None) -> dict[str, RoundedInputs]:
        """Those of the layers that read a weight, by name, out of `rows`."""
        if rows is None:
            return {}
        nodes = [node for node, _ in entry.slots if node.name in rows]
        return {node.name: rows.take(node.name, self.activations.of(node.inputs[0].name)) for node in nodes}

    def _compensates(self, entry: QuantizedTensor) -> bool:
        chosen = settings(self.activations.ctx, [entry]).get("weights")
        return self.compensate if chosen is None else chosen == "feedback"

    def _round(
        self, rows: np.ndarray, metric: np.ndarray | None, compensate: bool, least: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Codes (N, d), and scales (N,) or () for a weight whose groups have the given metrics (g, d, d)."""
        if not self.per_channel:
            scale = np.maximum(row_scale(rows.reshape(1, -1), self._bits)[0], least.max(initial=0.0))
            return round_to_grid(rows, np.full(len(rows), scale), self._bits), np.asarray(scale)
        return to_grid(rows, metric, compensate, self._bits, least)

    @property
    def _bits(self) -> int:
        """Where activations stay in float no INT8 kernel runs."""
        return self.activations.ctx.target.weight_bits if self.activations else BITS

    def _least(self, nodes: Sequence[gs.Node], rows: int) -> np.ndarray:
        """The least scale per row that leaves room for the biases of all `nodes`."""
        least = np.zeros(rows, np.float32)
        for node in nodes:
            scale = self.activations.scale(node.inputs[0])
            if scale is not None:
                bias = largest_bias(node, rows) + self.activations.moved(node)
                least = np.maximum(least, least_scale(bias, scale))
        return least

    def _biases(
        self, nodes: Sequence[gs.Node], rounded: np.ndarray, scale: np.ndarray, seen: Mapping[str, RoundedInputs]
    ) -> Biases:
        """Of nodes that read one weight, corrected and in whole steps."""
        measured = [node for node in nodes if node.name in seen and self.shift_bias]
        inputs = {node.name: self.activations.scale(node.inputs[0]) for node in nodes}
        return in_steps(corrected(measured, rounded, seen), nodes, self.activations.graph, scale, inputs)


def _centred(rows: Iterable[np.ndarray]) -> np.ndarray:
    """Rows (g, n, d) of all layers that share a weight, without their mean."""
    first, *others = rows
    values = np.concatenate([first, *others], axis=1) if others else first
    values -= values.mean(axis=1, keepdims=True)
    return values


def _figures(channels: int, error: float, grid: Grid | None) -> LayerReport:
    figures: LayerReport = {"channels": channels, "weight_error": error}
    return figures if grid is None else figures | {"input_scale": grid.scale}
