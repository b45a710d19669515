"""Quantizes layers: calibrates and rounds them once, then writes the pairs of any of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.copies import copy_graph
from ...compiler.graph.quantization.qdq import Placement, QuantizedTensor, place
from ...compiler.graph.quantization.quantizable import channel_axis
from ...compiler.graph.quantization.quantizers import Grid, quantize_activation, quantize_weight
from ...compiler.graph.rewriter import Rewriter
from ...compiler.jobs import side_by_side, single_threaded
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.traces import Spread
from ...runtime.memory import trim
from ...runtime.rounded_inputs import InputRows, measurable
from ...runtime.rows import Layer, stored_weight
from .activation_grids import ActivationGrids
from .biases import sharing_bias, write_bias
from .rounded_weight import RoundedWeight, WeightRounding
from .shifting import Shifting
from .weight_only import LayerReport, channel_rows

METRIC_SAMPLES = 128
AT_ONCE = 2
"""Layers that are rounded at once: a wide one takes some 200 MB."""
Accepts = Callable[[gs.Node], bool]


@dataclass(frozen=True, eq=False)
class Quantizer:
    """Quantizes layers of `graph`, or of copies of it, their weights as `weights` says."""

    weights: WeightRounding
    _rounded: dict[str, RoundedWeight] = field(default_factory=dict[str, RoundedWeight])
    _written: dict[frozenset[str], gs.Graph] = field(default_factory=dict[frozenset[str], gs.Graph])

    @property
    def activations(self) -> ActivationGrids:
        return self.weights.activations

    @property
    def graph(self) -> gs.Graph:
        return self.activations.graph

    @property
    def ctx(self) -> Context:
        return self.activations.ctx

    def round(self, accepts: Accepts) -> None:
        """Find the numbers of all accepted layers; `graph` stays as it is."""
        placement = self._place(self.graph, accepts)
        rows = self._calibrated(placement, accepts)
        trim()
        found = side_by_side(self.weights.round, ((entry, rows) for entry in placement.weights), AT_ONCE)
        with self.ctx.progress("round", len(placement.weights)) as advance:
            for entry, rounded in zip(placement.weights, found, strict=True):
                self._rounded[_key(entry)] = rounded
                advance()

    def losses(self, nodes: Iterable[gs.Node]) -> dict[str, float]:
        """Of rounded layers, by name, what they lose in INT8, as far as it is known."""
        known = {name: each.loss for each in self._rounded.values() for name in each.reports}
        own = {node.name: (node, known.get(node.name)) for node in nodes}
        return {
            name: min(lost + self.activations.loss(node), 1.0) for name, (node, lost) in own.items() if lost is not None
        }

    def sharing(self) -> list[list[str]]:
        """The names of rounded layers, those with one weight together: they are quantized together, or not at all."""
        return [list(each.reports) for each in self._rounded.values()]

    def rounded(self, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        """Weight (N, d) and bias (N,) that a layer gets."""
        found = next(each for each in self._rounded.values() if layer.name in each.reports)
        return found.values(), found.biases.get(layer.name, stored_weight(layer)[1].reshape(-1))

    def grid(self, tensor: gs.Tensor) -> Grid | None:
        """What a tensor is rounded to, where it is."""
        return self.activations.of(tensor.name)

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
            self.activations.calibrate(rewriter.graph, placement, self.ctx.data)
        spreads += self.activations.spreads(placement)
        shifting = Shifting.of(self.activations, rewriter.graph, placement)
        entries = [entry for group in placement.activations for entry in group]
        grids = [shifting.grid(entry.tensor.name) for entry in entries]
        reports: dict[str, LayerReport] = {}
        for entry in placement.weights:
            rounded = self._rounded[_key(entry)]
            spreads.append(rounded.spread)
            reports.update(rounded.reports)
            self._write_weight(rewriter, entry, rounded, shifting)
        shifting.write(rewriter, reports.keys())
        for entry, grid in zip(entries, grids, strict=True):
            if grid is not None:
                quantize_activation(rewriter, entry, grid)
        return reports

    def written(self, names: Collection[str]) -> gs.Graph:
        """A copy of `graph` with these of the rounded layers in INT8. It is kept until the next: do not change it."""
        wanted = frozenset(names)
        if wanted not in self._written:
            copied = copy_graph(self.graph)
            self.write(Rewriter(copied, {}), lambda node: node.name in wanted, [])
            self._written.clear()
            self._written[wanted] = copied
        return self._written[wanted]

    def _place(self, graph: gs.Graph, accepts: Accepts) -> Placement:
        return place(graph, accepts, self.ctx.target.quantizes_outputs)

    def _calibrated(self, placement: Placement, accepts: Accepts) -> InputRows | None:
        """Rows of what the accepted layers read, seen in the run that their grids come from; None without data."""
        data = self.ctx.data
        if data is None:
            return None
        samples = min(self.activations.samples, METRIC_SAMPLES, data.samples)
        rows = InputRows(measurable(self.graph, accepts), samples, self.ctx.rng())
        with single_threaded():
            self.activations.calibrate(self.graph, placement, data, rows)
        return rows

    def _write_weight(
        self, rewriter: Rewriter, entry: QuantizedTensor, rounded: RoundedWeight, shifting: Shifting
    ) -> None:
        nodes = [node for node, _ in entry.slots]
        axis = channel_axis(nodes[0])
        _, shaped = channel_rows(entry, axis)
        form = "int8-dq" if self.ctx.target.quantization == "int8-dq" else "float-qdq"
        quantize_weight(rewriter, entry, shaped(rounded.codes), rounded.scale, axis, form)
        biases = shifting.biases(nodes, rounded)
        for alike in sharing_bias([node for node in nodes if node.name in biases]):
            with rewriter.sharing(len(alike)):
                for node in alike:
                    write_bias(rewriter, node, biases[node.name])


def _key(entry: QuantizedTensor) -> str:
    """Of a weight: the name of a layer that reads it, which copies of the graph have, too."""
    return min(node.name for node, _ in entry.slots)
