"""What the layers at a change are fitted to, for many changes of one network, each as if it came alone.

    a block that goes      the layer in front of it, to what left the block (`front`)
    a pair that is merged  the layers of the wide block, to what those of the pair gave, side by side; the last one to
                           what makes its sum that of the second block

The wide blocks stand beside their pairs meanwhile (`Gaps.beside`), so that one walk over the data serves all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.block_pairs import BlockPair
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.wide_blocks import WideBlock
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import dependency_order, lockstep
from ...runtime.moments import Moments
from ...runtime.rows import Layer, in_graph_order
from ...runtime.subsets import evenly
from ..fitting.fits import fittable_layers, layer_fits
from ..fitting.samples import CURVE_SAMPLES, FEWEST_SAMPLES
from .dense import dense_layer
from .front import reference_for
from .gaps import Change, Gaps, front_layers

ROWS = 2**13
Fitted = dict[str, tuple[np.ndarray, np.ndarray]]
"""Weights and biases by the output of their layer, in the network with the change."""


@dataclass(frozen=True, eq=False)
class ChangeFits:
    """Args:
    before: the network that is fitted to.
    shapes: of its tensors.
    """

    before: gs.Graph
    shapes: Shapes
    ctx: Context
    data: Data
    ridge: float

    def of(self, gaps: Gaps, changes: Sequence[Change]) -> dict[str, Fitted]:
        """By change; blocks with one layer in front are done one after the other."""
        found: dict[str, Fitted] = {change.name: {} for change in changes}
        pairs = [each for each in changes if isinstance(each, BlockPair)]
        fronts = {each.name: gaps.front(each) for each in changes if not isinstance(each, BlockPair)}
        waiting = {name: front for name, front in fronts.items() if front is not None}
        while waiting or pairs:
            now: dict[str, str] = {}
            for name, front in waiting.items():
                now.setdefault(front.output, name)
            beside, wide = gaps.beside(pairs)
            beside.fronts |= {front.output: front for front in (waiting.pop(name) for name in now.values())}
            owners = {output: (name, output) for output, name in now.items()} | _owners(pairs, wide)
            for layer, weights in self._fitted(beside, now, wide):
                change, output = owners[layer.output.name]
                found[change][output] = weights
            pairs = []
        return found

    def _fitted(
        self, beside: Gaps, outputs: Mapping[str, str], wide: Mapping[str, WideBlock]
    ) -> Iterator[tuple[Layer, tuple[np.ndarray, np.ndarray]]]:
        """Layers in front of blocks stay as they are in the graph; those of wide blocks are fitted one to the other."""
        graph = beside.graph
        inside = fittable_layers(graph, {id(node) for block in wide.values() for node in block.nodes})
        layers = [*front_layers(graph, outputs, self.ctx).values(), *inside]
        rewriter = Rewriter(graph, beside.origins)
        for layer, moments in self._walk(beside, layers):
            parts, bias = dense_layer(layer, layer_fits(layer, moments, self.ridge))
            weight = np.concatenate(parts)
            if layer.output.name not in outputs:
                layer.store(rewriter, weight, bias)
            yield layer, (weight, bias)

    def _walk(self, gaps: Gaps, layers: Sequence[Layer]) -> Iterator[tuple[Layer, Moments]]:
        ctx, graph, shapes = self.ctx, gaps.graph, gaps.shapes(self.shapes)
        reference = reference_for(self.before, gaps.fronts.values(), gaps.parts)
        _, ordered = dependency_order(graph, in_graph_order(graph, layers))
        fewest = min((prod(shapes.get(layer.output.name, ())[2:]) for layer in ordered), default=1)
        data = evenly(self.data, min(CURVE_SAMPLES, max(FEWEST_SAMPLES, ROWS // max(1, fewest))))
        return lockstep(graph, reference, ordered, data, ctx.rng(), ROWS, None, ROWS, ctx.activation_bytes, True)


def _owners(pairs: Sequence[BlockPair], wide: Mapping[str, WideBlock]) -> dict[str, tuple[str, str]]:
    """By output of a layer in a wide block, the pair, and what it is called in the place of the pair."""
    return {
        node.outputs[0].name: (pair.name, twins.first.outputs[0].name)
        for pair in pairs
        for node, twins in zip(wide[pair.name].nodes, pair.twins, strict=False)
    }
