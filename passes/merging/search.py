"""Which Convs become one: first those that are added (`sums`), then chains (`choice`).

Without a model of the time only sums that have no more multiplications than their Convs are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.graph.convs import Conv, find_convs
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.base import Action, Decision, PassResult
from ...compiler.pipeline.context import Context
from .chains import Chain
from .choice import NETWORK, ChainChoice, network_ms
from .eligible import reason_against
from .sums import ConvSum, find_sums
from .writing import write

ALONE = "no other Conv with its strides and groups reads its input"
ONE = "one Conv with {}"
SUM = "one Conv with {}: their outputs are added"
REPEATED = "its filters are there {} times, for each Conv that reads them"
LEAST = 5e-4
"""Milliseconds worth a note."""
BY_ITSELF = (
    "{:.2g} ms of what is saved by the estimate TensorRT would save, too: it makes one layer of Convs of one kernel"
)

Kind = tuple[str, tuple[int, ...], int]
"""Input, strides, and groups: of Convs that may become one."""


@dataclass(eq=False)
class FusionSearch:
    """One run over a graph, which it edits.

    Attributes:
        model: of the network's time, as the pipeline ends; None where there is none,
        why: and the reason.
        decisions: by name of the Conv.
    """

    graph: gs.Graph
    ctx: Context
    model: LatencyModel | None
    why: str = ""
    decisions: dict[str, Decision] = field(default_factory=dict[str, Decision])

    def run(self) -> PassResult:
        """`UnknownShape` where there is a model, and the time of the network is not known."""
        for conv in find_convs(self.graph):
            self._decide([conv.name], "skipped", reason_against(conv, self.ctx) or ALONE)
        if self.model is None:
            fused = self._write_sums(None) + self._kept()
            return self._result(fused)
        took = network_ms(self.graph, self.ctx, self.model)
        sums = self._write_sums(self.model)
        summed = network_ms(self.graph, self.ctx, self.model)
        chains = self._write_chains(self.model)
        takes = network_ms(self.graph, self.ctx, self.model)
        result = self._result(sums + chains, latency_before=took, latency_after=takes)
        by_itself = summed - takes - self._saved
        if by_itself > LEAST:
            result.notes.append(BY_ITSELF.format(by_itself))
        return result

    @property
    def _saved(self) -> float:
        """By chains."""
        return sum(float(decision.figures.get("milliseconds_saved", 0.0)) for decision in self.decisions.values())

    def _result(self, fused: int, **metrics: float) -> PassResult:
        return PassResult(fused > 0, list(self.decisions.values()), {"fused": float(fused), **metrics})

    def _write_sums(self, model: LatencyModel | None) -> int:
        """How many."""
        count = 0
        for found in list(find_sums(self.graph, self._usable())):
            nodes = {term.node.name: term.node.op for term in found.terms if term.node is not None}
            if not self._pays(found, model):
                self._decide([conv.name for conv in found.convs], "kept", NETWORK if model is not None else self.why)
                continue
            found.write(Rewriter(self.graph, self.ctx.origins))
            count += 1
            for name, op in nodes.items():
                what = SUM.format(_others(name, list(nodes)))
                self._decide([name], "rewritten" if op == "Conv" else "folded", what)
        return count

    def _pays(self, found: ConvSum, model: LatencyModel | None) -> bool:
        if model is None:
            return found.fewer
        graph = copy_graph(self.graph)
        found.write(Rewriter(graph))
        return network_ms(graph, self.ctx, model) < network_ms(self.graph, self.ctx, model)

    def _write_chains(self, model: LatencyModel) -> int:
        """How many."""
        count, siblings = 0, self._siblings()
        takes = network_ms(self.graph, self.ctx, model)
        for kind in list(siblings):
            group = siblings.get(kind, [])
            if len(group) < 2:
                continue
            found = ChainChoice(self.graph, self.ctx, model, self._usable(), takes).best(group)
            self._decide([conv.name for conv in group], "kept", found if isinstance(found, str) else NETWORK)
            if not isinstance(found, str):
                self._write(*found)
                count, siblings = count + 1, self._siblings()
                takes = network_ms(self.graph, self.ctx, model)
        return count

    def _write(self, chain: Chain, saved: float) -> None:
        for link in chain.links:
            together = list(dict.fromkeys(member.conv.name for member in link.step.members))
            for name in together:
                others = _others(name, together)
                what = ONE.format(others) if others else REPEATED.format(len(link.step.members))
                self._decide([name], "rewritten", what)
        first = chain.convs[0].name
        self.decisions[first] = replace(self.decisions[first], figures={"milliseconds_saved": saved})
        write(chain, Rewriter(self.graph, self.ctx.origins))

    def _kept(self) -> int:
        """Decisions on all that might have been a chain; 0."""
        for group in self._siblings().values():
            if len(group) > 1:
                self._decide([conv.name for conv in group], "kept", self.why)
        return 0

    def _decide(self, names: Sequence[str], action: Action, reason: str) -> None:
        self.decisions |= {name: Decision(name, action, reason) for name in names}

    def _siblings(self) -> dict[Kind, list[Conv]]:
        """The Convs that may become part of another, in graph order."""
        found: dict[Kind, list[Conv]] = {}
        for conv in find_convs(self.graph):
            if reason_against(conv, self.ctx) is None:
                found.setdefault((conv.input.name, conv.strides, conv.group), []).append(conv)
        return found

    def _usable(self) -> dict[int, Conv]:
        """By the id of the node."""
        return {id(conv.node): conv for group in self._siblings().values() for conv in group}


def _others(name: str, names: Sequence[str]) -> str:
    return ", ".join(f"'{other}'" for other in names if other != name)
