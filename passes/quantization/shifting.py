"""The pairs and biases of tensors that are shifted, so that symmetric INT8 has all of its codes for them: the formulas
are those of `graph.quantization.shifts`.

Layers are rounded as if what they read was UINT8 with zero point 0. What can be shifted where all layers are in INT8
may have to stay where some have left it. Then it has its symmetric grid, and biases are whole steps of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.qdq import Placement
from ...compiler.graph.quantization.quantizers import Grid
from ...compiler.graph.quantization.shifts import HALF, Shift, write_shift
from ...compiler.graph.rewriter import Rewriter
from .activation_grids import ActivationGrids
from .biases import Biases, in_steps, stored_bias
from .rounded_weight import RoundedWeight


@dataclass(frozen=True, eq=False)
class Shifting:
    """How the activations of a placement are written.

    Attributes:
        shifts: what is shifted, by so much.
        inputs: what the input of a layer is less by, by name.
        outputs: what its result has to be less by.
    """

    activations: ActivationGrids
    graph: gs.Graph
    shifts: Sequence[tuple[Shift, float]]
    inputs: Mapping[str, float]
    outputs: Mapping[str, float]

    @classmethod
    def of(cls, activations: ActivationGrids, graph: gs.Graph, placement: Placement) -> Shifting:
        """`placement`, of `graph`, is calibrated."""
        found = activations.shifts(graph, placement)
        shifts = [(shift, HALF * _scale(activations.of(shift.group[0].tensor.name))) for shift in found]
        inputs = {layer.name: by for shift, by in shifts for layer in shift.readers}
        outputs = dict[str, float]()
        for shift, by in shifts:
            for layer in shift.writers:
                outputs[layer.name] = outputs.get(layer.name, 0.0) + by
            for layer in shift.sums:
                outputs[layer.name] = outputs.get(layer.name, 0.0) - by
        return cls(activations, graph, shifts, inputs, outputs)

    def grid(self, tensor: str) -> Grid | None:
        """The one that is written for a tensor."""
        if any(entry.tensor.name == tensor for shift, _ in self.shifts for entry in shift.group):
            return Grid(_scale(self.activations.of(tensor)))
        return self.activations.unshifted(tensor)

    def biases(self, nodes: Sequence[gs.Node], rounded: RoundedWeight) -> Biases:
        """Of layers that read a rounded weight."""
        moved = {node.name: self._moved(node, rounded) for node in nodes if self._is_moved(node)}
        inputs = {node.name: self._input_scale(node.inputs[0]) for node in nodes}
        if not moved and all(inputs[node.name] == self.activations.scale(node.inputs[0]) for node in nodes):
            return rounded.biases
        found: Biases = {**rounded.biases, **moved}
        for node in nodes:  # one by one, as what was shared is moved by shifts of its own
            found = in_steps(found, [node], self.graph, rounded.scale, inputs)
        return found

    def write(self, rewriter: Rewriter, quantized: Set[str]) -> None:
        """All but the pairs, and the biases of layers that are `quantized`."""
        layers = {layer.name: layer for shift, _ in self.shifts for layer in (*shift.writers, *shift.sums)}
        for name in layers.keys() - quantized:
            layer = layers[name]
            bias = np.broadcast_to(stored_bias(layer.node) - self.outputs[name], layer.filters)
            rewriter.set_weight(layer.node, 2, bias.astype(layer.dtype))
        for shift, by in self.shifts:
            write_shift(rewriter, shift, by / HALF)

    def _is_moved(self, node: gs.Node) -> bool:
        return node.name in self.inputs or node.name in self.outputs

    def _moved(self, node: gs.Node, rounded: RoundedWeight) -> np.ndarray:
        """The bias of a layer, (N,)."""
        read, written = self.inputs.get(node.name, 0.0), self.outputs.get(node.name, 0.0)
        bias = rounded.biases.get(node.name, stored_bias(node))
        return (bias + read * rounded.values().sum(axis=1, dtype=np.float64) - written).astype(np.float32)

    def _input_scale(self, tensor: gs.Tensor) -> float | None:
        grid = self.grid(tensor.name)
        return self.activations.scale(tensor) if grid is None else grid.scale


def _scale(grid: Grid | None) -> float:
    assert grid is not None
    return grid.scale
