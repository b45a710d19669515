"""Of all chains that begin at a tensor, the one that saves most of the whole network's time.

saved = ms(network) - ms(network with the chain) - what the builder saves by itself (`Step.apart`)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.graph.convs import Conv
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.context import Context
from ...runtime.shapes import network_shapes
from .chains import Chain, ChainFinder
from .steps import Step
from .writing import write

ITSELF = "the target's builder makes one layer of Convs of one kernel by itself"
NO_FASTER = "one Conv of a kernel of {} would take no less time"
NETWORK = "the network as a whole would take no less time"


@dataclass(frozen=True, eq=False)
class ChainChoice:
    """For one graph.

    Attributes:
        model: of the network's time, as the pipeline ends.
        convs: by the id of the node, those that may become part of another.
        takes: milliseconds of the network as it is.
    """

    graph: gs.Graph
    ctx: Context
    model: LatencyModel
    convs: Mapping[int, Conv]
    takes: float

    def best(self, siblings: Sequence[Conv]) -> tuple[Chain, float] | str:
        """The chain, and milliseconds saved; a reason where none saves any."""
        best: tuple[Chain, float] | None = None
        reason = ""
        for chain in ChainFinder(self.graph, self.convs).chains(siblings):
            saved = chain if isinstance(chain, str) else self._saved(chain)
            if isinstance(saved, str) or isinstance(chain, str):
                reason = str(saved)
            elif best is None or saved > best[1]:
                best = chain, saved
        return best or reason

    def _saved(self, chain: Chain) -> float | str:
        """Milliseconds; a reason where it is none."""
        steps, shapes = [link.step for link in chain.links], network_shapes(self.graph, self.ctx)

        def ms(convs: Iterable[Step]) -> float:
            return sum(self.model.conv(conv.workload(shapes)) for conv in convs)

        alone = ms(conv for step in steps for conv in step.alone)
        apart = ms(conv for step in steps for conv in step.apart)
        if ms(steps) >= apart:
            return _no_faster(steps)
        graph = copy_graph(self.graph)
        write(chain, Rewriter(graph))
        saved = self.takes - network_ms(graph, self.ctx, self.model) - (alone - apart)
        return saved if saved > 0 else NETWORK


def network_ms(graph: gs.Graph, ctx: Context, model: LatencyModel) -> float:
    """`UnknownShape` where the time is not known."""
    return model.graph(graph, network_shapes(graph, ctx))


def _no_faster(steps: Sequence[Step]) -> str:
    if all(len(step.apart) == 1 for step in steps):
        return ITSELF
    return NO_FASTER.format(" x ".join(str(window.size) for window in steps[0].windows))
