"""What the outputs of a network lose when a block goes or two become one, measured on samples that no fit sees.

For each block in turn, in the network as it stands: the layer in front of it is fitted to what leaves the block, in
closed form (`change_fits`), and what comes behind is run on held-out samples; or the layer stays as it is, where that
loses less. So for each pair that can be merged, and the layers of the wide block. The network in front of a change is
run once for all (`runtime.segmented_executor`).

The loss of class scores is their Kullback-Leibler divergence at the best of some scales; of other outputs it is the
divergence of `sensitivity.measure`. Fits shrink the scores, which changes no answer. EfficientNet-Lite0 without three
blocks, layers re-fitted to 224 images at a share of the full strength (`strength`), on 192 others:

    strength                        0       0.25    0.5     0.75    1
    agreement                       92.7    93.8    94.8    95.3    94.8
    divergence, at the best scale   0.0717  0.0644  0.0637  0.0704  0.0857
    divergence                      0.0717  0.0661  0.0732  0.0951  0.1344
    squared error of the scores     0.125   0.105   0.098   0.102   0.115
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.block_pairs import BlockPair
from ...compiler.graph.comparable import comparable_tensors, reads
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data, Feeds
from ...runtime.quality.distances import kullback_leibler
from ...runtime.quality.outputs import Kind, log_scores
from ...runtime.segmented_executor import SegmentedExecutor
from ...runtime.session import graph_session, segment_session
from ...runtime.shapes import network_shapes
from ..sensitivity.measure import divergence, outputs_kind
from .change_fits import ChangeFits, Fitted
from .gaps import Change, Gaps, front_layers

BATCH = 32
SCALES = tuple(2 ** (step / 8) for step in range(-4, 9))


@dataclass(frozen=True, eq=False)
class Trial:
    """A network with one change more.

    Attributes:
        loss: of the outputs, see the module docstring.
        gaps: the network, the layer in front of the block fitted, or those of the wide block.
    """

    change: Change
    loss: float
    gaps: Gaps


class LossMeter:
    """Args:
    before: the network that is compared with, never edited.
    fitting: samples; None leaves layers as they are.
    judging: batches of samples.
    """

    def __init__(self, before: gs.Graph, ctx: Context, fitting: Data | None, judging: Sequence[Feeds], ridge: float):
        self._ctx, self.fitting, self._batches = ctx, fitting, judging
        shapes: Shapes = {} if fitting is None else network_shapes(before, ctx)
        self._fits = None if fitting is None else ChangeFits(before, shapes, ctx, fitting, ridge)
        self._names = comparable_tensors(before)
        session = graph_session(before, self._names)
        self._wanted = [list(session.run(feeds).values()) for feeds in self._batches]
        first = dict(zip(self._names, self._wanted[0], strict=True))
        self._kind: Kind = outputs_kind(before, self._batches[0], first)

    def loss(self, network: gs.Graph) -> float:
        """Of a whole network."""
        session = graph_session(network, self._names)
        found = [list(session.run(feeds).values()) for feeds in self._batches]
        return self._divergence(found)

    def trials(self, gaps: Gaps, changes: Sequence[Change]) -> list[Trial]:
        """Of changes of `gaps.graph`, which stays as it is."""
        weights: dict[str, Fitted] = {} if self._fits is None else self._fits.of(gaps, changes)
        order = {id(node): index for index, node in enumerate(gaps.graph.nodes)}
        executor = SegmentedExecutor(gaps.graph, self._batches, self._ctx.activation_bytes)
        starts = {each.name: _start(gaps, each) for each in changes}
        found: dict[str, Trial] = {}
        with self._ctx.progress("blocks that can go", len(changes)) as advance:
            for change in sorted(changes, key=lambda each: order.get(id(starts[each.name]), -1)):
                start = starts[change.name]
                executor.advance([change.entry.name] if start is None else [tensor.name for tensor in reads(start)])
                found[change.name] = self._trial(gaps, change, executor, weights.get(change.name, {}))
                advance(f"{change.name} {found[change.name].loss:.3g}")
        return [found[change.name] for change in changes]

    def _trial(self, gaps: Gaps, change: Change, executor: SegmentedExecutor, weights: Fitted) -> Trial:
        """The layers as they are, or fitted, whatever loses less."""
        plain = gaps.after(change)
        bare = Trial(change, self._loss(plain, executor), plain)
        if not weights:
            return bare
        fitted = plain.copy()
        rewriter = Rewriter(fitted.graph, fitted.origins)
        for name, layer in front_layers(fitted.graph, weights, self._ctx).items():
            layer.store(rewriter, *weights[name])
        return min(bare, Trial(change, self._loss(fitted, executor), fitted), key=attrgetter("loss"))

    def _loss(self, gaps: Gaps, executor: SegmentedExecutor) -> float:
        plan = executor.missing(gaps.graph.nodes, [name for name in self._names if executor.produces(name)])
        made = {tensor.name for node in plan for tensor in node.outputs}
        held = {tensor.name for node in plan for tensor in reads(node) if executor.holds(tensor.name)} - made
        names = [name for name in self._names if name in made]
        session = segment_session(gaps.graph, plan, {name: executor[name][0] for name in held}, names)
        found: list[list[np.ndarray]] = []
        for index, wanted in enumerate(self._wanted):
            values = session.run({name: executor[name][index] for name in held})
            found.append([values.get(name, before) for name, before in zip(self._names, wanted, strict=True)])
        return self._divergence(found)

    def _divergence(self, found: Sequence[Sequence[np.ndarray]]) -> float:
        if self._kind == "classes":
            outputs = (
                [np.concatenate(batches) for batches in zip(*side, strict=True)] for side in (self._wanted, found)
            )
            return float(np.mean([scaled_divergence(*log_scores(a, b)) for a, b in zip(*outputs, strict=True)]))
        return divergence(self._wanted, found, self._kind)


def scaled_divergence(wanted: np.ndarray, found: np.ndarray) -> float:
    """Of class scores (samples, classes), with what is found times the best of `SCALES`."""
    return min(float(np.mean(kullback_leibler(wanted, scale * found))) for scale in SCALES)


def _start(gaps: Gaps, change: Change) -> gs.Node | None:
    """The first node that changes."""
    if isinstance(change, BlockPair):
        return change.first.nodes[0]
    front = gaps.front(change)
    tensor = change.entry if front is None else gaps.graph.tensors()[front.output]
    return tensor.inputs[0] if tensor.inputs else None
