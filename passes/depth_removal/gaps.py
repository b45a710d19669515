"""A network with some of its blocks gone, and what makes up for them.

    none     the network without them: what it computes when their branches give zeros
    refit    In graph order, each layer is fitted to what then reaches it (`runtime.lockstep`): the layer in front of a
             gap to what left the block (`front`), all behind the first gap to what they gave before.

An Identity stands in the place of each block until the layers are fitted: all tensors keep their names, and where
shortcuts are added again the sums can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.activations import activation_after
from ...compiler.graph.blocks import Block, remove_block
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.ties import tie
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import ROWS
from ...runtime.rows import Layer
from ..fitting.fits import fittable_layers, for_all_uses, refittable, relative_error
from ..fitting.lockstep import FitOptions, fitted_layers, step_order
from .dense import dense_layer
from .front import Front, front_of, reference_for

KEPT = 2**14


@dataclass(eq=False)
class Gaps:
    """Attributes:
    graph: the network, edited in place.
    origins: see `Rewriter`.
    fronts: layers that make up for a block, by their output.
    stands_for: see `front_of`.
    identities: names of the nodes that stand for blocks.
    """

    graph: gs.Graph
    origins: dict[str, str] = field(default_factory=dict[str, str])
    fronts: dict[str, Front] = field(default_factory=dict[str, Front])
    stands_for: dict[str, str] = field(default_factory=dict[str, str])
    identities: list[str] = field(default_factory=list[str])

    def copy(self) -> Gaps:
        return Gaps(
            copy_graph(self.graph), dict(self.origins), dict(self.fronts), dict(self.stands_for), [*self.identities]
        )

    def without(self, block: Block) -> Gaps:
        """A copy that lacks a block of `graph`."""
        copy = self.copy()
        copy.remove(block.within(copy.graph))
        return copy

    def front(self, block: Block) -> Front | None:
        """What would make up for a block of `graph`."""
        return front_of(block, self.stands_for)

    def remove(self, block: Block) -> None:
        """Remove a block of `graph`."""
        front = self.front(block)
        written = {tensor.name for node in block.nodes for tensor in node.outputs}
        self.fronts = {name: each for name, each in self.fronts.items() if name not in written}
        if front is not None:
            self.fronts[front.output] = front
            self.stands_for[front.total] = front.wanted
        inside = {node.name for node in block.nodes}
        self.identities = [name for name in self.identities if name not in inside]
        self.identities.append(remove_block(Rewriter(self.graph, self.origins), block).name)

    def close(self) -> None:
        """Take the Identities out, all but those that give a model output its name."""
        rewriter = Rewriter(self.graph, self.origins)
        for node in [node for node in self.graph.nodes if node.name in self.identities]:
            if rewriter.can_bypass(node):
                rewriter.bypass(node)


def closed(gaps: Gaps) -> gs.Graph:
    """The network as it will be written."""
    copy = gaps.copy()
    copy.close()
    return copy.graph


@dataclass(frozen=True, eq=False)
class Refit:
    """What a layer of a network with gaps is fitted to be.

    Attributes:
        layer: as it was before.
        weight, bias: (N, d) and (N,).
        error: output energy that they miss, relative.
    """

    layer: Layer
    weight: np.ndarray
    bias: np.ndarray
    error: float

    def store(self, rewriter: Rewriter, strength: float) -> None:
        """Go so far from what it was: 0 leaves it, 1 is the fit."""
        bias = 0.0 if self.layer.bias is None else (1 - strength) * self.layer.bias
        weight = (1 - strength) * self.layer.matrix() + strength * self.weight
        self.layer.store(rewriter, weight, bias + strength * self.bias)

    def decisions(self) -> list[Decision]:
        return for_all_uses(self.layer, Decision(self.layer.name, "refitted", "", {"error": self.error}))


def refit(gaps: Gaps, before: gs.Graph, ctx: Context, data: Data, ridge: float, rows: int = ROWS) -> list[Refit]:
    """Fit the layers of `gaps.graph` in place, at full strength, to the outputs of the network `before`."""
    graph, found = gaps.graph, list[Refit]()
    _, layers = step_order(graph, refittable(tie(_touched(gaps)), ctx))
    cut = {layer.name for layer in layers if _is_cut_off(layer, gaps.fronts)}
    options = FitOptions(ridge, rows=rows, keep=KEPT if cut else 0, judged=True)
    rewriter = Rewriter(graph, gaps.origins)
    reference = reference_for(before, gaps.fronts.values())
    with ctx.progress("repair", len(layers)) as advance:
        for layer, fits in fitted_layers(graph, ctx, layers, data, options, reference):
            weights, bias = dense_layer(layer, fits, layer.name in cut)
            found.append(Refit(layer, np.concatenate(weights), bias, relative_error(fits, weights)))
            found[-1].store(rewriter, 1.0)
            advance(layer.name)
    return found


def set_strength(gaps: Gaps, refits: Sequence[Refit], strength: float) -> None:
    """Of all layers that were fitted."""
    rewriter = Rewriter(gaps.graph, gaps.origins)
    for each in refits:
        each.store(rewriter, strength)


def _is_cut_off(layer: Layer, fronts: Mapping[str, Front]) -> bool:
    """Whether an activation cuts off a sum that the layer is part of, or what it gives in front of a gap."""
    readers = layer.output.outputs
    total = readers[0].outputs[0] if len(readers) == 1 and readers[0].op == "Add" else layer.output
    activation = activation_after(total)
    wanted = total is not layer.output or layer.output.name in fronts
    return wanted and activation is not None and not activation.linear


def front_layers(graph: gs.Graph, fronts: Mapping[str, Front], ctx: Context) -> dict[str, Layer]:
    """Those of them whose weight may change, by output."""
    nodes = {id(node) for node in graph.nodes if any(tensor.name in fronts for tensor in node.outputs)}
    layers: Sequence[Layer] = refittable(tie(fittable_layers(graph, nodes)), ctx)
    return {layer.output.name: layer for layer in layers if not layer.others}


def _touched(gaps: Gaps) -> list[Layer]:
    """The layers in front of gaps, and all from the first gap on."""
    nodes = gaps.graph.nodes
    made = [any(tensor.name in gaps.fronts for tensor in node.outputs) for node in nodes]
    first = next((i for i, node in enumerate(nodes) if made[i] or node.name in gaps.identities), len(nodes))
    return fittable_layers(gaps.graph, {id(node) for node in nodes[first:]})
