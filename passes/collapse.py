"""Two Convs in a row with nothing between them become one Conv, where that is faster; the network computes the same.

    y = B * (A * x + b_A) + b_B        becomes        y = (B . A) * x + (B . b_A + b_B)        (`merging.pairs`)

It undoes what makes a network small in multiplications and slow in kernels: a kernel takes its time whatever it
computes (about 19 us on the Xavier), and a tensor that is written and read back takes the rest. The last Conv of an
inverted residual has no activation behind it: where no sum stands between it and the first Conv of the next block, as
where the stage changes, the two are one matrix. In INT8 what was between them is no longer rounded, either.

It is done where the target's cost model says that the network as a whole takes less time, in the precision in which the
pipeline ends; for a target without one, where the one Conv has no more multiplications than the two. Passes in front of
this one that have a budget in time count what it will save: where `depth` has left one block of a stage, the stages
beside it join.

By the estimate for the Xavier, milliseconds in INT8 without and with it:

    EfficientNet-Lite0       0.917, 0.876    2 pairs
    MobileNetV2              0.926, 0.884    2
    DeepLab v3, MobileNetV2  1.063, 1.038    1

EfficientNet-Lite0, `depth:latency=0.687ms,collapse,quantize`: two blocks go, two pairs merge, three of Convs join:
0.677 ms, 0.74 of the time that INT8 alone takes, top-1 88.2 of 91.8 on 500 pictures that nothing was fitted to.

Put it behind passes that choose filters, ranks or blocks (it would undo a `basis` that saves no time), and before
`quantize`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import onnx_graphsurgeon as gs

from ..compiler.costs.cost_model import Foreseen
from ..compiler.costs.unknown import UnknownShape
from ..compiler.costs.workload import LatencyModel, conv_workload
from ..compiler.graph.convs import Conv, find_convs
from ..compiler.graph.copies import copy_graph
from ..compiler.graph.rewriter import Rewriter
from ..compiler.graph.shapes import Shapes
from ..compiler.pipeline.base import Action, Decision, Pass, PassResult
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.ending import ending_model
from ..compiler.pipeline.registry import register
from ..runtime.shapes import network_shapes
from .merging.choice import NETWORK
from .merging.eligible import reason_against
from .merging.pairs import ConvPair

ALONE = "no other Conv alone reads its output, and it alone reads none"
MORE = "one Conv would have more multiplications, and target '{}' has no cost model"
ONE = "one Conv with '{}'"


@register
@dataclass(frozen=True)
class Collapse(Pass):
    """Make one Conv of two in a row with nothing between them, where the target is faster with it.

    Left alone, with the reason in the report: Convs that something else reads, too, those that pad what the Conv in
    front would give other values for than zeros, those whose weight others read, those with quantized weights or
    activations, and those out of --include / --exclude.
    """

    name: ClassVar[str] = "collapse"
    exact: ClassVar[bool] = True
    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        search = CollapseSearch.of(graph, ctx)
        metrics = {} if search.takes is None else {"latency_before": search.takes}
        search.run()
        metrics |= {} if search.takes is None else {"latency_after": search.takes}
        count = float(search.count)
        return PassResult(count > 0, list(search.decisions.values()), {"collapsed": count, **metrics})

    def foreseen(self, seen: Foreseen, ctx: Context) -> Foreseen:
        """Which Convs become one depends on no weight."""
        behind = ctx.following[ctx.following.index(self) + 1 :]
        graph, later = copy_graph(seen.graph), replace(ctx, running=self.name, following=behind)
        CollapseSearch.of(graph, later, outline=True).run()
        return replace(seen, graph=graph)


@dataclass(eq=False)
class CollapseSearch:
    """One run over a graph, which it edits.

    Attributes:
        shapes: of its tensors; that of no tensor that stays changes.
        model: of its time, as the pipeline ends.
        takes: that time in milliseconds; None where it is not known.
        outline: the weights that are written do not matter.
        decisions: by name of the Conv.
        count: of pairs that have become one.
    """

    graph: gs.Graph
    ctx: Context
    shapes: Shapes
    model: LatencyModel | None
    takes: float | None
    outline: bool = False
    decisions: dict[str, Decision] = field(default_factory=dict[str, Decision])
    count: int = 0
    _refused: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    @staticmethod
    def of(graph: gs.Graph, ctx: Context, outline: bool = False) -> CollapseSearch:
        model, shapes = ending_model(ctx), network_shapes(graph, ctx)
        try:
            takes = None if model is None else model.graph(graph, shapes)
        except UnknownShape:
            takes = None
        return CollapseSearch(graph, ctx, shapes, model, takes, outline)

    def run(self) -> None:
        for conv in find_convs(self.graph):
            self.decisions[conv.name] = Decision(conv.name, "skipped", reason_against(conv, self.ctx) or ALONE)
        while (found := next(self._better(), None)) is not None:
            self._write(*found)

    def _better(self) -> Iterator[tuple[ConvPair, float | None]]:
        """Pairs that are better one, with the time that the network then takes."""
        for first, second in self._neighbours():
            pair = ConvPair.of(first, second)
            if isinstance(pair, str):
                self._keep(first, second, "skipped", pair)
                continue
            takes = self._takes_as_one(pair)
            if self.takes is None and pair.size > first.weight.size + second.weight.size:
                self._keep(first, second, "kept", MORE.format(self.ctx.target.name))
            elif self.takes is not None and (takes is None or takes >= self.takes):
                self._keep(first, second, "kept", NETWORK)
            else:
                yield pair, takes

    def _neighbours(self) -> Iterator[tuple[Conv, Conv]]:
        """Two in a row that have not been refused."""
        convs = {id(conv.node): conv for conv in find_convs(self.graph) if reason_against(conv, self.ctx) is None}
        outputs = {id(tensor) for tensor in self.graph.outputs}
        for first in convs.values():
            readers = first.output.outputs
            second = convs.get(id(readers[0])) if len(readers) == 1 and id(first.output) not in outputs else None
            if second is not None and (first.name, second.name) not in self._refused:
                yield first, second

    def _keep(self, first: Conv, second: Conv, action: Action, reason: str) -> None:
        self._refused.add((first.name, second.name))
        self.decisions[second.name] = Decision(second.name, action, reason)

    def _takes_as_one(self, pair: ConvPair) -> float | None:
        """Milliseconds of the network; None where it is not known, or more by the two Convs alone."""
        if self.model is None or self.takes is None:
            return None
        apart = sum(self.model.conv(conv_workload(conv, self.shapes)) for conv in (pair.first, pair.second))
        if self.model.conv(pair.workload(self.shapes)) >= apart:
            return None
        graph = copy_graph(self.graph)
        pair.outline(Rewriter(graph))
        return self.model.graph(graph, self.shapes)

    def _write(self, pair: ConvPair, takes: float | None) -> None:
        first, second = pair.first.name, pair.second.name
        saved = {} if self.takes is None or takes is None else {"milliseconds_saved": self.takes - takes}
        self.decisions[first] = Decision(first, "folded", ONE.format(second))
        self.decisions[second] = Decision(second, "rewritten", ONE.format(first), dict(saved))
        rewriter = Rewriter(self.graph, {} if self.outline else self.ctx.origins)
        (pair.outline if self.outline else pair.write)(rewriter)
        self.count, self.takes = self.count + 1, takes
