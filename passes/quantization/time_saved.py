"""What INT8 saves in every layer: by the target's cost model, in milliseconds; where it has none, or shapes are not
known, the layer's share of the multiply-accumulates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...compiler.costs.latency import DEVICES, PrecisionRequest, estimate
from ...compiler.costs.network_cost import conv_costs
from ...compiler.costs.unknown import UnknownShape
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.context import Context
from ...runtime.shapes import network_shapes
from .quantizer import Quantizer


@dataclass(frozen=True)
class TimeSaved:
    """By layer, in milliseconds where `timed`."""

    by_layer: Mapping[str, float]
    timed: bool

    @property
    def ms(self) -> Mapping[str, float]:
        return self.by_layer if self.timed else {}

    def cost(self, in_float: Iterable[str]) -> str:
        """What these layers cost in float, as part of a sentence; empty where it is not known."""
        more = 1000 * sum(self.ms.get(name, 0.0) for name in in_float)
        return f" (estimated to take {more:.1f} us more than in INT8)" if self.timed else ""


UNKNOWN = TimeSaved({}, timed=False)


def time_saved(quantizer: Quantizer) -> TimeSaved:
    """Of all rounded layers."""
    graph, ctx = quantizer.graph, quantizer.ctx
    shapes = network_shapes(graph, ctx)
    names = {name for unit in quantizer.sharing() for name in unit}
    if ctx.target.device in DEVICES:
        trial = copy_graph(graph)
        quantizer.write(Rewriter(trial, {}), lambda node: node.name in names, [])
        try:
            before, after = _times(graph, ctx, "fp16"), _times(trial, ctx, "auto")
            saved = {name: max(before.get(name, 0.0) - after.get(name, 0.0), 0.0) for name in names}
            return TimeSaved(saved, timed=True)
        except UnknownShape:
            pass
    macs = {name: float(cost.macs or 0) for name, cost in conv_costs(graph, shapes)}
    total = sum(macs.values()) or 1.0
    return TimeSaved({name: macs.get(name, 0.0) / total for name in names}, timed=False)


def _times(graph: gs.Graph, ctx: Context, precision: PrecisionRequest) -> dict[str, float]:
    found = estimate(graph, network_shapes(graph, ctx), ctx.target, ctx.options.power_mode, precision)
    return {name: kernel.ms for kernel in found.kernels for name in kernel.nodes}
