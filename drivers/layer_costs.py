"""What every Conv costs, and what is left of it after the passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..compiler.costs.latency import Latency
from ..compiler.costs.network_cost import Cost
from ..compiler.costs.workload import total
from ..compiler.graph.convs import find_convs
from ..compiler.graph.shapes import Shapes
from ..compiler.report import CostReport, LayerReport


@dataclass(frozen=True, eq=False)
class Costed:
    """A graph, its shapes, what each of its Convs costs, by name, and its latency, where the target has a model of it.

    `unknown`: the shape for want of which not all is counted; `batch`: of its first input.
    """

    graph: gs.Graph
    shapes: Shapes
    convs: Mapping[str, Cost]
    latency: Latency | None
    unknown: str = ""
    batch: int = 1

    def of(self, origins: Mapping[str, str]) -> dict[str, CostReport]:
        """By the Conv that each stands for."""
        found: dict[str, CostReport] = {}
        times = {} if self.latency is None else {kernel.name: kernel.ms for kernel in self.latency.kernels}
        for name, cost in self.convs.items():
            entry = found.setdefault(origins.get(name, name), CostReport(macs=0, params=0, ms=None))
            entry["macs"] = total((entry["macs"], cost.macs))
            entry["params"] += cost.params
            if name in times:
                entry["ms"] = (entry["ms"] or 0.0) + times[name]
        return found


def not_counted(*graphs: Costed) -> list[str]:
    """A note where a shape is missing."""
    unknown = next((costed.unknown for costed in graphs if costed.unknown), None)
    if unknown is None:
        return []
    whole = any(cost.macs is None for costed in graphs for cost in costed.convs.values())
    return [f"{'MACs and latency are' if whole else 'the latency is'} not known: {unknown}"]


def layer_reports(before: Costed, after: Costed, origins: Mapping[str, str]) -> Iterator[LayerReport]:
    """Every Conv of the graph before, in its order; one of which nothing is left costs nothing."""
    shapes = {conv.name: list(map(int, conv.weight.shape)) for conv in find_convs(before.graph)}
    old, new = before.of({}), after.of(origins)
    gone = CostReport(macs=0, params=0, ms=None if after.latency is None else 0.0)
    for node in before.graph.nodes:
        if node.name in old:
            left = new.get(node.name, gone)
            yield LayerReport(name=node.name, weight=shapes.get(node.name), before=old[node.name], after=left)
