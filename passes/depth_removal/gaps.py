"""A network with some of its blocks gone, and some pairs of blocks merged.

An Identity stands in the place of each block that is gone until the layers are fitted (`repair`): all tensors keep
their names, and where shortcuts are added again the sums can be compared. Inner tensors of a wide block are wanted to
be what those of the pair were, side by side; what its last layer adds to the shortcut, what makes its sum that of the
second block.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_graphsurgeon as gs

from ...compiler.graph.block_pairs import BlockPair, find_pairs
from ...compiler.graph.blocks import Block, remove_block
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.ties import tie
from ...compiler.graph.wide_blocks import WideBlock, merge_pair, put_beside
from ...compiler.pipeline.context import Context
from ...runtime.rows import Layer
from ..fitting.fits import fittable_layers, refittable
from .front import Front, front_of

Change = Block | BlockPair
"""What makes a network shorter: a block that goes, or a pair of them that becomes one."""
Parts = Mapping[str, tuple[str, ...]]


@dataclass(eq=False)
class Gaps:
    """A network, edited in place.

    Attributes:
        origins: see `Rewriter`.
        fronts: layers that make up for a block, or are the last of a wide one, by their output.
        stands_for: see `front_of`.
        parts: by inner tensor of a wide block, those of the network before that it has side by side.
        changes: names, in the order in which they came.
        identities: names of the nodes that stand for blocks.
    """

    graph: gs.Graph
    origins: dict[str, str] = field(default_factory=dict[str, str])
    fronts: dict[str, Front] = field(default_factory=dict[str, Front])
    stands_for: dict[str, str] = field(default_factory=dict[str, str])
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    changes: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()

    def copy(self) -> Gaps:
        return replace(
            self,
            graph=copy_graph(self.graph),
            origins=dict(self.origins),
            fronts=dict(self.fronts),
            stands_for=dict(self.stands_for),
            parts=dict(self.parts),
        )

    def after(self, change: Change) -> Gaps:
        """A copy with one more change, of what is in `graph`."""
        copy = self.copy()
        copy.make(change.within(copy.graph))
        return copy

    def front(self, block: Block) -> Front | None:
        """What would make up for a block of `graph`."""
        return front_of(block, self.stands_for)

    def pairs(self, blocks: Sequence[Block]) -> list[BlockPair]:
        """Of blocks of `graph`; not those with an inner layer that makes up for a block."""
        pairs = find_pairs(self.graph, blocks)
        return [pair for pair in pairs if not any(name in self.fronts for name in _inner(pair))]

    def make(self, change: Change) -> None:
        """Remove a block of `graph`, or merge a pair."""
        if isinstance(change, BlockPair):
            self._merge(change)
        else:
            self._remove(change)
        self.changes = (*self.changes, change.name)

    def beside(self, pairs: Sequence[BlockPair]) -> tuple[Gaps, dict[str, WideBlock]]:
        """A copy that has the wide blocks beside the pairs, and by name of the pair which they are."""
        copy, found = self.copy(), dict[str, WideBlock]()
        rewriter = Rewriter(copy.graph, copy.origins)
        for pair in pairs:
            found[pair.name] = put_beside(rewriter, pair.within(copy.graph))
            copy._widen(found[pair.name], pair, self.parts)
        return copy, found

    def shapes(self, before: Shapes) -> Shapes:
        """Of all tensors, by those of the network before."""
        wide = {name: _wide_shape([before[part] for part in parts]) for name, parts in self.parts.items()}
        return {**before, **wide}

    def _remove(self, block: Block) -> None:
        front = self.front(block)
        self._forget(block.nodes)
        if front is not None:
            self.fronts[front.output] = front
            self.stands_for[front.total] = front.wanted
        identity = remove_block(Rewriter(self.graph, self.origins), block)
        self.identities = (*self.identities, identity.name)

    def _merge(self, pair: BlockPair) -> None:
        known = dict(self.parts)
        self._forget(pair.nodes)
        self._widen(merge_pair(Rewriter(self.graph, self.origins), pair), pair, known)

    def _widen(self, wide: WideBlock, pair: BlockPair, known: Parts) -> None:
        """Note what the tensors of a wide block are to be."""
        total = pair.second.before.name
        wanted = self.stands_for.get(total, total)
        self.fronts[wide.output.name] = Front(wide.output.name, wide.total.name, pair.first.entry.name, wanted)
        for name, parts in wide.parts.items():
            self.parts[name] = tuple(each for part in parts for each in known.get(part, (part,)))

    def _forget(self, nodes: Sequence[gs.Node]) -> None:
        """That are going to be removed."""
        written = {tensor.name for node in nodes for tensor in node.outputs}
        self.fronts = {name: each for name, each in self.fronts.items() if name not in written}
        self.parts = {name: each for name, each in self.parts.items() if name not in written}
        names = {node.name for node in nodes}
        self.identities = tuple(name for name in self.identities if name not in names)

    def close(self) -> None:
        """Take the Identities out, all but those that give a model output its name."""
        rewriter = Rewriter(self.graph, self.origins)
        for node in [node for node in self.graph.nodes if node.name in self.identities]:
            if rewriter.can_bypass(node):
                rewriter.bypass(node)


def _wide_shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Of tensors side by side on axis 1."""
    first, _, *rest = shapes[0]
    return first, sum(shape[1] for shape in shapes), *rest


def closed(gaps: Gaps) -> gs.Graph:
    """The network as it will be written."""
    copy = gaps.copy()
    copy.close()
    return copy.graph


def front_layers(graph: gs.Graph, outputs: Collection[str], ctx: Context) -> dict[str, Layer]:
    """The layers with these outputs whose weight may change, by output."""
    nodes = {id(node) for node in graph.nodes if any(tensor.name in outputs for tensor in node.outputs)}
    layers: Sequence[Layer] = refittable(tie(fittable_layers(graph, nodes)), ctx)
    return {layer.output.name: layer for layer in layers if not layer.others}


def _inner(pair: BlockPair) -> list[str]:
    """The tensors within its branches."""
    nodes = (node for twins in pair.twins[:-1] for node in (twins.first, twins.second))
    return [node.outputs[0].name for node in nodes]
