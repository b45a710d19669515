"""The numbers of `quantize`: calibrates and rounds, then writes the pairs that `graph.quantization.qdq` places.

Where kernels write INT8 (`qdq`, rule 10), the result of a layer can be rounded in front of a SiLU or another gate: its
range is chosen by what is seen of that behind the gate (`gated`), and what is lost there counts as a loss of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.copies import copy_graph
from ...compiler.graph.quantization.qdq import Placement, QuantizedTensor, clamped, place
from ...compiler.graph.quantization.quantizable import channel_axis
from ...compiler.graph.quantization.quantizers import Grid, quantize_activation, quantize_weight
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.weights import resolve
from ...compiler.jobs import side_by_side, single_threaded
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.traces import Spread, gathered, weight_spread
from ...runtime.calibration import Histogram, histograms
from ...runtime.gated_values import channel_values, gate_function
from ...runtime.memory import trim
from ...runtime.rounded_inputs import InputRows, RoundedInputs, measurable
from ...runtime.rows import Layer, stored_weight
from ..projection.grid import (
    BITS,
    CODES,
    from_grid,
    highest,
    input_metric,
    least_scale,
    relative_error,
    round_to_grid,
    row_scale,
    safe_scale,
    to_grid,
)
from ..projection.ranges import Method, bottom, symmetric, threshold, with_zero_point
from .biases import Biases, corrected, in_steps, largest_bias, sharing_bias, stored_bias, write_bias
from .gated import gated_grid, gated_loss, gates
from .losses import loss
from .weight_only import LayerReport, channel_rows

METRIC_SAMPLES = 128
RIDGE = 1e-2
AT_ONCE = 2
"""Layers that are rounded at once: a wide one takes some 200 MB."""
Accepts = Callable[[gs.Node], bool]


@dataclass(frozen=True, eq=False)
class RoundedWeight:
    """A weight on its grid, and what goes with it in the layers that read it.

    Attributes:
        codes, scale: (N, d) int8, and (N,) or ().
        biases: new ones, by layer.
        loss: see the module docstring; of several layers the largest, None where it is not known.
        reports: figures of each layer, for the report.
    """

    codes: np.ndarray
    scale: np.ndarray
    biases: Biases
    loss: float | None
    reports: Mapping[str, LayerReport]
    spread: Spread


@dataclass(frozen=True, eq=False)
class Quantizer:
    """Quantizes layers of `graph`, or of copies of it; the fields are the options of the pass.

    Attributes:
        compensate: round with error feedback.
        shift_bias: keep the mean of every output channel.
        per_channel: one weight scale per output channel, else one per weight.
    """

    graph: gs.Graph
    ctx: Context
    method: Method
    percentile: float
    compensate: bool
    shift_bias: bool
    per_channel: bool
    samples: int
    _grids: dict[str, Grid] = field(default_factory=dict[str, Grid])
    _spreads: dict[str, Spread] = field(default_factory=dict[str, Spread])
    _weights: dict[str, RoundedWeight] = field(default_factory=dict[str, RoundedWeight])
    _gated: dict[str, float] = field(default_factory=dict[str, float])

    def round(self, accepts: Accepts) -> None:
        """Find the numbers of all accepted layers; `graph` stays as it is."""
        placement = self._place(self.graph, accepts)
        rows = None
        if self.ctx.data is not None:
            layers, samples = measurable(self.graph, accepts), min(self.samples, METRIC_SAMPLES, self.ctx.data.samples)
            rows = InputRows(layers, samples, self.ctx.rng())
            with single_threaded():
                self._calibrate(self.graph, placement, self.ctx.data, rows)
        trim()
        found = side_by_side(self._rounded, ((entry, rows) for entry in placement.weights), AT_ONCE)
        with self.ctx.progress("round", len(placement.weights)) as advance:
            for entry, rounded in zip(placement.weights, found, strict=True):
                self._weights[_key(entry)] = rounded
                advance()

    def losses(self, nodes: Iterable[gs.Node]) -> dict[str, float]:
        """Of rounded layers, by name, what they lose in INT8, as far as it is known."""
        known = {name: each.loss for each in self._weights.values() for name in each.reports}
        found = {
            node.name: (known.get(node.name), self._gated.get(clamped(node.outputs[0]).name, 0.0)) for node in nodes
        }
        return {name: min(own + behind, 1.0) for name, (own, behind) in found.items() if own is not None}

    def sharing(self) -> list[list[str]]:
        """The names of rounded layers, those with one weight together: they are quantized together, or not at all."""
        return [list(each.reports) for each in self._weights.values()]

    def rounded(self, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        """Weight (N, d) and bias (N,) that a layer gets."""
        found = next(each for each in self._weights.values() if layer.name in each.reports)
        weight = from_grid(found.codes, np.broadcast_to(found.scale, len(found.codes)))
        return weight, found.biases.get(layer.name, stored_weight(layer)[1].reshape(-1))

    def grid(self, tensor: gs.Tensor) -> Grid | None:
        """What a tensor is rounded to, where it is."""
        return self._grids.get(tensor.name)

    def write(self, rewriter: Rewriter, accepts: Accepts, spreads: list[Spread]) -> dict[str, LayerReport]:
        """Write the pairs of rounded layers into `graph` or a copy of it.

        Args:
            accepts: layers that have been rounded, perhaps not all of them.
            spreads: filled by what was quantized, for the report.

        Returns:
            Node name -> figures for the report.
        """
        placement = self._place(rewriter.graph, accepts)
        if self.ctx.data is not None:
            self._calibrate(rewriter.graph, placement, self.ctx.data)
        entries = [entry for group in placement.activations for entry in group if self._grids]
        spreads += [spread for group in placement.activations for spread in self._spread(group)]
        reports: dict[str, LayerReport] = {}
        for entry in placement.weights:
            rounded = self._weights[_key(entry)]
            spreads.append(rounded.spread)
            reports.update(rounded.reports)
            self._write_weight(rewriter, entry, rounded)
        for entry in entries:
            quantize_activation(rewriter, entry, self._grids[entry.tensor.name])
        return reports

    def written(self, names: Collection[str]) -> gs.Graph:
        """A copy of `graph` with these of the rounded layers in INT8."""
        copied = copy_graph(self.graph)
        self.write(Rewriter(copied, {}), lambda node: node.name in names, [])
        return copied

    def _place(self, graph: gs.Graph, accepts: Accepts) -> Placement:
        return place(graph, accepts, self.ctx.target.quantizes_outputs)

    def _calibrate(self, graph: gs.Graph, placement: Placement, data: Data, rows: InputRows | None = None) -> None:
        """Grids of the groups that have none yet, or not one; `rows` are filled."""
        groups = [group for group in placement.activations if not self._is_calibrated(group)]
        names = [entry.tensor.name for group in groups for entry in group]
        if not names and rows is None:
            return
        seen = histograms(self.graph, names, data, self.samples, self.ctx.progress, rows)
        for group in groups:
            total = seen[group[0].tensor.name]
            for entry in group[1:]:
                total.merge(seen[entry.tensor.name])
            own = self._settings(group)
            method, share = own.get("method", self.method), own.get("percentile", self.percentile)
            grid, top = self._grid(total, method, share)
            self._grids.update((entry.tensor.name, grid) for entry in group)
            self._spreads[group[0].tensor.name] = activation_spread(group[0].tensor.name, total, top)
        self._calibrate_gated(graph, placement, groups, data)

    def _calibrate_gated(
        self, graph: gs.Graph, placement: Placement, groups: Sequence[Sequence[QuantizedTensor]], data: Data
    ) -> None:
        """Grids anew of tensors that only a gate reads, by what is seen of them behind it."""
        behind = gates(graph, placement, groups) if self.ctx.target.quantizes_outputs else {}
        if not behind:
            return
        seen = channel_values(self.graph, list(behind), data, self.samples, self.ctx.rng(), self.ctx.progress)
        for name, gate in behind.items():
            f, values, grid = gate_function(graph, gate), seen[name], self._grids[name]
            own = self._settings([QuantizedTensor(gate.tensor, [(node, 0) for node in gate.nodes])])
            if own.get("method", self.method) == "mse":
                grid = gated_grid(values, f, grid, self._between)
            self._grids[name], self._gated[name] = grid, gated_loss(values, f, grid)
            reach = max(abs(end) for end in grid.ends)
            self._spreads[name] = replace(self._spreads[name], low=reach, high=reach)

    def _is_calibrated(self, group: Sequence[QuantizedTensor]) -> bool:
        """Every tensor has the same grid."""
        grids = {self._grids.get(entry.tensor.name) for entry in group}
        return len(grids) == 1 and None not in grids

    def _spread(self, group: Sequence[QuantizedTensor]) -> list[Spread]:
        """Of the group that was calibrated, where it is called by one of these tensors."""
        return [self._spreads[e.tensor.name] for e in group if e.tensor.name in self._spreads][:1]

    def _grid(self, seen: Histogram, method: Method, percentile: float) -> tuple[Grid, float]:
        """The grid of a tensor and how far it reaches."""
        unsigned = self.ctx.target.asymmetric_activations
        step = with_zero_point(seen.low) if unsigned else symmetric
        top = threshold(seen.counts, seen.width, seen.peak, method, percentile, step)
        return self._between(bottom(seen.low, top) if unsigned else -top, top), top

    def _between(self, low: float, high: float) -> Grid:
        """The grid that covers these ends, low <= 0 <= high."""
        if not self.ctx.target.asymmetric_activations:
            return Grid(float(safe_scale(np.array(symmetric(max(-low, high))))))
        scale = float(safe_scale(np.array((high - low) / CODES)))
        return Grid(scale, np.uint8(round(-low / scale)))

    @property
    def _bits(self) -> int:
        """Of weights; where activations stay in float no INT8 kernel runs."""
        return self.ctx.target.weight_bits if self._grids else BITS

    def _settings(self, entries: Sequence[QuantizedTensor]) -> dict[str, Any]:
        """What is set for the nodes that read a tensor; where they disagree, for the last of them."""
        found: dict[str, Any] = {}
        for node, _ in (slot for entry in entries for slot in entry.slots):
            found |= self.ctx.settings(node.name)
        return found

    def _taken(self, entry: QuantizedTensor, rows: InputRows | None) -> dict[str, RoundedInputs]:
        """Those of the layers that read a weight, by name, out of `rows`."""
        if rows is None:
            return {}
        nodes = [node for node, _ in entry.slots if node.name in rows]
        return {node.name: rows.take(node.name, self.grid(node.inputs[0])) for node in nodes}

    def _rounded(self, entry: QuantizedTensor, kept: InputRows | None) -> RoundedWeight:
        """The weight rounded, and the biases of the layers that read it corrected."""
        seen = self._taken(entry, kept)
        nodes = [node for node, _ in entry.slots]
        rows, _ = channel_rows(entry, channel_axis(nodes[0]))
        metric = input_metric(_centred(each.values() for each in seen.values()), RIDGE) if seen else None
        compensate = self._settings([entry]).get("weights", "feedback" if self.compensate else "nearest") == "feedback"
        codes, scale = self._round(rows, metric, compensate, self._least(nodes, len(rows)))
        del metric
        rounded = from_grid(codes, np.broadcast_to(scale, len(rows)))
        biases = self._biases(nodes, rounded, scale, seen)
        losses = [
            loss(known, rounded, biases.get(node.name, stored_bias(node)))
            for node in nodes
            if (known := seen.get(node.name)) is not None
        ]
        error = relative_error(rows, rounded, _centred(each.judged() for each in seen.values()) if seen else None)
        grids = {node.name: self._grids.get(node.inputs[0].name) for node in nodes}
        return RoundedWeight(
            codes,
            scale,
            biases,
            max(losses, default=None),
            {node.name: _figures(len(rows), error, grids[node.name]) for node in nodes},
            weight_spread(nodes[0].name, rows, scale * highest(self._bits)),
        )

    def _biases(
        self, nodes: Sequence[gs.Node], rounded: np.ndarray, scale: np.ndarray, seen: Mapping[str, RoundedInputs]
    ) -> Biases:
        """Of nodes that read one weight, corrected and in whole steps."""
        measured = [node for node in nodes if node.name in seen and self.shift_bias]
        inputs = {node.name: self._input_scale(node.inputs[0]) for node in nodes}
        return in_steps(corrected(measured, rounded, seen), nodes, self.graph, scale, inputs)

    def _write_weight(self, rewriter: Rewriter, entry: QuantizedTensor, rounded: RoundedWeight) -> None:
        nodes = [node for node, _ in entry.slots]
        axis = channel_axis(nodes[0])
        _, shaped = channel_rows(entry, axis)
        form = "int8-dq" if self.ctx.target.quantization == "int8-dq" else "float-qdq"
        quantize_weight(rewriter, entry, shaped(rounded.codes), rounded.scale, axis, form)
        for alike in sharing_bias([node for node in nodes if node.name in rounded.biases]):
            with rewriter.sharing(len(alike)):
                for node in alike:
                    write_bias(rewriter, node, rounded.biases[node.name])

    def _least(self, nodes: Sequence[gs.Node], rows: int) -> np.ndarray:
        """The least scale per row that leaves room for the biases of all `nodes`."""
        least = np.zeros(rows, np.float32)
        for node in nodes:
            bias, scale = largest_bias(node, rows), self._input_scale(node.inputs[0])
            if bias is not None and scale is not None:
                least = np.maximum(least, least_scale(bias, scale))
        return least

    def _input_scale(self, tensor: gs.Tensor) -> float | None:
        """Of the pair that `tensor` gets, or that it comes from; None where it stays in float."""
        if tensor.name in self._grids:
            return self._grids[tensor.name].scale
        source = tensor.inputs[0] if tensor.inputs else None
        stored = resolve(source.inputs[1]) if source is not None and source.op == "DequantizeLinear" else None
        return None if stored is None else float(stored.min())

    def _round(
        self, rows: np.ndarray, metric: np.ndarray | None, compensate: bool, least: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Codes (N, d), and scales (N,) or () for a weight whose groups have the given metrics (g, d, d)."""
        if not self.per_channel:
            scale = np.maximum(row_scale(rows.reshape(1, -1), self._bits)[0], least.max(initial=0.0))
            return round_to_grid(rows, np.full(len(rows), scale), self._bits), np.asarray(scale)
        return to_grid(rows, metric, compensate, self._bits, least)


def activation_spread(tensor: str, seen: Histogram, reach: float) -> Spread:
    """Of a calibrated tensor that is clipped at `reach`, for the report."""
    counts, top = gathered(seen.counts, seen.width, seen.peak)
    return Spread(tensor, "activation", counts, top, reach, reach)


def _centred(rows: Iterable[np.ndarray]) -> np.ndarray:
    """Rows (g, n, d) of all layers that share a weight, without their mean."""
    first, *others = rows
    values = np.concatenate([first, *others], axis=1) if others else first
    values -= values.mean(axis=1, keepdims=True)
    return values


def _key(entry: QuantizedTensor) -> str:
    """Of a weight: the name of a layer that reads it, which copies of the graph have, too."""
    return min(node.name for node, _ in entry.slots)


def _figures(channels: int, error: float, grid: Grid | None) -> LayerReport:
    figures: LayerReport = {"channels": channels, "weight_error": error}
    return figures if grid is None else figures | {"input_scale": grid.scale}
