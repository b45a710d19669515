"""Which Convs become one: of all chains that begin at a tensor, the one that saves most of the whole network's time.

saved = ms(network) - ms(network with the chain) - what the builder saves by itself (`Step.apart`)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.graph.convs import Conv, find_convs
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.ties import readers
from ...compiler.graph.weights import holds_codes
from ...compiler.pipeline.base import Decision, PassResult
from ...compiler.pipeline.context import Context
from ...runtime.shapes import network_shapes
from .chains import Chain, ChainFinder
from .steps import Step
from .writing import write

ROUNDS = ("QuantizeLinear", "DequantizeLinear")
QUANTIZED = "it is quantized: horizontal-fusion comes before quantize"
GROUPED = "it has groups"
ALONE = "no other Conv of its kind, with its strides, reads its input"
ITSELF = "the target's builder makes one layer of Convs of one kernel by itself"
NO_FASTER = "one Conv of a kernel of {} would take no less time"
NETWORK = "the network as a whole would take no less time"
ONE = "one Conv with {}"
REPEATED = "its filters are there {} times, for each Conv that reads them"


Kind = tuple[str, tuple[int, ...], bool]
"""Input, strides, and whether they are depthwise: of Convs that may become one."""


@dataclass(eq=False)
class FusionSearch:
    """One run over a graph, which it edits.

    Attributes:
        model: of the network's time, as the pipeline ends.
        decisions: by name of the Conv.
    """

    graph: gs.Graph
    ctx: Context
    model: LatencyModel
    decisions: dict[str, Decision] = field(default_factory=dict[str, Decision])

    def run(self) -> PassResult:
        """`UnknownShape` where the time of the network is not known."""
        siblings, fused = self._siblings(), 0
        self.decisions |= {
            conv.name: Decision(conv.name, "skipped", self._reason(conv) or ALONE) for conv in find_convs(self.graph)
        }
        took = takes = self._ms(self.graph)
        for kind in list(siblings):
            if len(siblings.get(kind, ())) < 2:
                continue
            found = self._best(siblings, kind, takes)
            if found is not None:
                self._write(*found)
                siblings, fused, takes = self._siblings(), fused + 1, self._ms(self.graph)
        metrics = {"fused": float(fused), "latency_before": took, "latency_after": takes}
        return PassResult(fused > 0, list(self.decisions.values()), metrics)

    def _siblings(self) -> dict[Kind, list[Conv]]:
        """The Convs that may become part of another, in graph order."""
        found: dict[Kind, list[Conv]] = {}
        for conv in find_convs(self.graph):
            if self._reason(conv) is None:
                found.setdefault((conv.input.name, conv.strides, conv.group > 1), []).append(conv)
        return found

    def _reason(self, conv: Conv) -> str | None:
        """Why a Conv is not to become part of another."""
        scope = self.ctx.out_of_scope(conv.name)
        if scope is not None:
            return scope
        near = (*conv.input.inputs, *conv.output.outputs)
        if holds_codes(conv.node.inputs[1]) or any(node.op in ROUNDS for node in near):
            return QUANTIZED
        if conv.group > 1 and not conv.group == conv.channels == conv.filters:
            return GROUPED
        other = next((node for node in readers(conv.node.inputs[1]) if node is not conv.node), None)
        return None if other is None else f"shares its weight with {other.op} '{other.name}'"

    def _best(self, siblings: Mapping[Kind, list[Conv]], kind: Kind, takes: float) -> tuple[Chain, float] | None:
        """The chain that saves most, and milliseconds; None, with decisions, where none saves any."""
        usable = {id(conv.node): conv for group in siblings.values() for conv in group}
        shapes, reason = network_shapes(self.graph, self.ctx), ""
        best: tuple[Chain, float] | None = None
        for chain in ChainFinder(self.graph, usable).chains(siblings[kind]):
            saved = chain if isinstance(chain, str) else self._saved(chain, shapes, takes)
            if isinstance(saved, str) or isinstance(chain, str):
                reason = str(saved)
            elif best is None or saved > best[1]:
                best = chain, saved
        self.decisions |= {conv.name: Decision(conv.name, "kept", reason) for conv in siblings[kind]}
        return best

    def _saved(self, chain: Chain, shapes: Shapes, takes: float) -> float | str:
        """Milliseconds; a reason where it is none."""
        steps = [link.step for link in chain.links]

        def ms(convs: Iterable[Step]) -> float:
            return sum(self.model.conv(conv.workload(shapes)) for conv in convs)

        alone = ms(conv for step in steps for conv in step.alone)
        apart = ms(conv for step in steps for conv in step.apart)
        if ms(steps) >= apart:
            return _no_faster(steps)
        saved = takes - self._ms(self._with(chain)) - (alone - apart)
        return saved if saved > 0 else NETWORK

    def _with(self, chain: Chain) -> gs.Graph:
        graph = copy_graph(self.graph)
        write(chain, Rewriter(graph))
        return graph

    def _write(self, chain: Chain, saved: float) -> None:
        for link in chain.links:
            together = list(dict.fromkeys(member.conv.name for member in link.step.members))
            for name in together:
                others = ", ".join(f"'{other}'" for other in together if other != name)
                what = ONE.format(others) if others else REPEATED.format(len(link.step.members))
                self.decisions[name] = Decision(name, "rewritten", what)
        first = chain.convs[0].name
        self.decisions[first] = replace(self.decisions[first], figures={"ms_saved": saved})
        write(chain, Rewriter(self.graph, self.ctx.origins))

    def _ms(self, graph: gs.Graph) -> float:
        return self.model.graph(graph, network_shapes(graph, self.ctx))


def _no_faster(steps: Sequence[Step]) -> str:
    if all(len(step.apart) == 1 for step in steps):
        return ITSELF
    return NO_FASTER.format(" x ".join(str(window.size) for window in steps[0].windows))
