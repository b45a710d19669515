"""A network with some of its blocks gone.

An Identity stands in the place of each block until the layers are fitted (`repair`): all tensors keep their names, and
where shortcuts are added again the sums can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from ...compiler.graph.blocks import Block, remove_block
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.ties import tie
from ...compiler.pipeline.context import Context
from ...runtime.rows import Layer
from ..fitting.fits import fittable_layers, refittable
from .front import Front, front_of


@dataclass(eq=False)
class Gaps:
    """A network, edited in place.

    Attributes:
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


def front_layers(graph: gs.Graph, fronts: Mapping[str, Front], ctx: Context) -> dict[str, Layer]:
    """Those of them whose weight may change, by output."""
    nodes = {id(node) for node in graph.nodes if any(tensor.name in fronts for tensor in node.outputs)}
    layers: Sequence[Layer] = refittable(tie(fittable_layers(graph, nodes)), ctx)
    return {layer.output.name: layer for layer in layers if not layer.others}
