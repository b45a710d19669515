"""What activations are rounded to in INT8: a grid for every tensor that gets a pair (`graph.quantization.qdq`).

Tensors of a group share one, by what they hold together. Where activations are symmetric, what can be shifted
(`graph.quantization.shifts`) has the grid of UINT8 with zero point 0, and a symmetric one beside it (`shifting`).

Where kernels write INT8 (`qdq`, rule 10), the result of a layer can be rounded in front of a SiLU or another gate: its
range is chosen by what is seen of that behind the gate (`gated`), and what is lost there counts as a loss of the layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.gates import Gate
from ...compiler.graph.quantization.qdq import Placement, QuantizedTensor, clamped
from ...compiler.graph.quantization.quantizers import Grid
from ...compiler.graph.quantization.shifts import HALF, Shift, find_shifts
from ...compiler.graph.weights import resolve
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.traces import Spread, gathered
from ...runtime.calibration import Histogram, histograms
from ...runtime.gated_values import channel_values, gate_function
from ...runtime.rounded_inputs import InputRows
from ..projection.grid import CODES, safe_scale
from ..projection.ranges import Method, bottom, symmetric, threshold, with_zero_point
from .gated import gated_grid, gated_loss, gates

Group = Sequence[QuantizedTensor]


@dataclass(frozen=True, eq=False)
class ActivationGrids:
    """Grids of the tensors of `graph`, which runs on the data of `ctx`; other fields are the options of the pass."""

    graph: gs.Graph
    ctx: Context
    method: Method
    percentile: float
    samples: int
    _found: dict[str, Grid] = field(default_factory=dict[str, Grid])
    _unshifted: dict[str, Grid] = field(default_factory=dict[str, Grid])
    _moved: dict[str, float] = field(default_factory=dict[str, float])
    _spreads: dict[str, Spread] = field(default_factory=dict[str, Spread])
    _behind_gates: dict[str, float] = field(default_factory=dict[str, float])

    def __bool__(self) -> bool:
        """There is one at all."""
        return bool(self._found)

    def of(self, tensor: str) -> Grid | None:
        return self._found.get(tensor)

    def unshifted(self, tensor: str) -> Grid | None:
        """The one in a placement in which it cannot be shifted."""
        return self._unshifted.get(tensor, self.of(tensor))

    def shifts(self, graph: gs.Graph, placement: Placement) -> list[Shift]:
        """What is shifted of a placement that is calibrated, `graph.quantization.shifts`."""
        found = self._shiftable(graph, placement) if self._unshifted else []
        return [each for each in found if each.group[0].tensor.name in self._unshifted]

    def moved(self, layer: gs.Node) -> float:
        """How far shifts move the biases of a layer, at most."""
        return self._moved.get(layer.name, 0.0)

    def scale(self, tensor: gs.Tensor) -> float | None:
        """Of the pair that `tensor` gets, or that it comes from; None where it stays in float."""
        if tensor.name in self._found:
            return self._found[tensor.name].scale
        source = tensor.inputs[0] if tensor.inputs else None
        stored = resolve(source.inputs[1]) if source is not None and source.op == "DequantizeLinear" else None
        return None if stored is None else float(stored.min())

    def loss(self, layer: gs.Node) -> float:
        """What is lost behind a gate where the result of a layer is rounded in front of it."""
        return self._behind_gates.get(clamped(layer.outputs[0]).name, 0.0)

    def spreads(self, placement: Placement) -> Iterator[Spread]:
        """Of every group the one of its tensors that it was calibrated by."""
        for group in placement.activations:
            yield from [self._spreads[e.tensor.name] for e in group if e.tensor.name in self._spreads][:1]

    def calibrate(self, graph: gs.Graph, placement: Placement, data: Data, rows: InputRows | None = None) -> None:
        """Grids of the groups that have none yet, or not one.

        Args:
            graph: the one that `placement` is of, `self.graph` or a copy.
            rows: filled in the same run.
        """
        groups = [group for group in placement.activations if not self._is_calibrated(group)]
        names = [entry.tensor.name for group in groups for entry in group]
        if not names and rows is None:
            return
        seen = histograms(self.graph, names, data, self.samples, self.ctx.progress, rows)
        shifts = {id(shift.group): shift for shift in self._shiftable(graph, placement)}
        for group in groups:
            self._calibrate_group(group, seen, shifts.get(id(group)))
        self._calibrate_gated(graph, gates(graph, placement, groups) if self.ctx.target.quantizes_outputs else {}, data)

    def _is_calibrated(self, group: Group) -> bool:
        """Every tensor has the same grid."""
        grids = {self._found.get(entry.tensor.name) for entry in group}
        return len(grids) == 1 and None not in grids

    def _shiftable(self, graph: gs.Graph, placement: Placement) -> list[Shift]:
        """The DLA takes no pairs: what makes ranges of them counts on no saturation."""
        target = self.ctx.target
        return [] if target.asymmetric_activations or target.dla else find_shifts(graph, placement)[0]

    def _calibrate_group(self, group: Group, seen: Mapping[str, Histogram], shift: Shift | None) -> None:
        name, own = group[0].tensor.name, settings(self.ctx, group)
        total = seen[name]
        for entry in group[1:]:
            total.merge(seen[entry.tensor.name])
        method, percentile = own.get("method", self.method), own.get("percentile", self.percentile)
        grid, top = self._grid(total, method, percentile, self.ctx.target.asymmetric_activations)
        for entry in group:
            self._unshifted.pop(entry.tensor.name, None)
        if shift is not None:
            self._unshifted.update((entry.tensor.name, grid) for entry in group)
            grid, top = self._grid(total, method, percentile, unsigned=True)
            for layer in (*shift.writers, *shift.sums):
                self._moved[layer.name] = self._moved.get(layer.name, 0.0) + HALF * grid.scale
        self._found.update((entry.tensor.name, grid) for entry in group)
        self._spreads[name] = activation_spread(name, total, top)

    def _calibrate_gated(self, graph: gs.Graph, behind: Mapping[str, Gate], data: Data) -> None:
        """Grids anew of tensors that only a gate reads, by what is seen of them behind it."""
        if not behind:
            return
        seen = channel_values(self.graph, list(behind), data, self.samples, self.ctx.rng(), self.ctx.progress)
        for name, gate in behind.items():
            f, values, grid = gate_function(graph, gate), seen[name], self._found[name]
            own = settings(self.ctx, [QuantizedTensor(gate.tensor, [(node, 0) for node in gate.nodes])])
            if own.get("method", self.method) == "mse":
                grid = gated_grid(values, f, grid, partial(_between, unsigned=self.ctx.target.asymmetric_activations))
            self._found[name], self._behind_gates[name] = grid, gated_loss(values, f, grid)
            reach = max(abs(end) for end in grid.ends)
            self._spreads[name] = replace(self._spreads[name], low=reach, high=reach)

    def _grid(self, seen: Histogram, method: Method, percentile: float, unsigned: bool) -> tuple[Grid, float]:
        """The grid of a tensor and how far it reaches."""
        step = with_zero_point(seen.low) if unsigned else symmetric
        top = threshold(seen.counts, seen.width, seen.peak, method, percentile, step)
        return _between(bottom(seen.low, top) if unsigned else -top, top, unsigned), top


def _between(low: float, high: float, unsigned: bool) -> Grid:
    """The grid that covers these ends, low <= 0 <= high."""
    if not unsigned:
        return Grid(float(safe_scale(np.array(symmetric(max(-low, high))))))
    scale = float(safe_scale(np.array((high - low) / CODES)))
    return Grid(scale, np.uint8(round(-low / scale)))


def settings(ctx: Context, entries: Iterable[QuantizedTensor]) -> dict[str, Any]:
    """What is set for the nodes that read these tensors; where they disagree, for the last of them."""
    found: dict[str, Any] = {}
    for node, _ in (slot for entry in entries for slot in entry.slots):
        found |= ctx.settings(node.name)
    return found


def activation_spread(tensor: str, seen: Histogram, reach: float) -> Spread:
    """Of a calibrated tensor that is clipped at `reach`, for the report."""
    counts, top = gathered(seen.counts, seen.width, seen.peak)
    return Spread(tensor, "activation", counts, top, reach, reach)
