"""What INT8 saves in every layer: by the target's cost model, in milliseconds; where it has none, or shapes are not
known, the layer's share of the multiply-accumulates.

    a layer by itself         the time of its kernel in float, less that in INT8
    layers together           the time of the network with these in float and all others in INT8, fusions and reformats
                              included, less that with all in INT8: float may be the faster one
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...compiler.costs.latency import DEVICES, Latency, PrecisionRequest, estimate
from ...compiler.costs.network_cost import conv_costs
from ...compiler.costs.unknown import UnknownShape
from ...compiler.graph.quantization.shifts import SUFFIX
from ...compiler.graph.shapes import Shapes
from ...runtime.shapes import network_shapes
from .quantizer import Quantizer


@dataclass(frozen=True, eq=False)
class TimeSaved:
    """See the module docstring.

    Attributes:
        by_layer: in milliseconds where `together` is known, else in shares.
        together: by names, how many milliseconds longer the network takes with these layers in float.
        whole: what the network takes in INT8.
    """

    by_layer: Mapping[str, float]
    together: Callable[[Collection[str]], float] | None = None
    whole: float = 1.0

    @property
    def ms(self) -> Mapping[str, float]:
        return {} if self.together is None else self.by_layer

    def cost(self, in_float: Collection[str]) -> str:
        """What these layers cost in float, as part of a sentence; empty where it is not known."""
        if self.together is None:
            return ""
        more = 1000 * self.together(in_float)
        return f" (estimated to take {abs(more):.1f} us {'more' if more >= 0 else 'less'} than in INT8)"


UNKNOWN = TimeSaved({})


def time_saved(quantizer: Quantizer) -> TimeSaved:
    """Of all rounded layers."""
    graph, ctx = quantizer.graph, quantizer.ctx
    shapes, names = network_shapes(graph, ctx), {name for unit in quantizer.sharing() for name in unit}
    if ctx.target.device in DEVICES:
        with suppress(UnknownShape):
            return _estimated(quantizer, names, shapes)
    macs = {name: float(cost.macs or 0) for name, cost in conv_costs(graph, shapes)}
    total = sum(macs.values()) or 1.0
    return TimeSaved({name: macs.get(name, 0.0) / total for name in names})


def _estimated(quantizer: Quantizer, names: Set[str], shapes: Shapes) -> TimeSaved:
    """`UnknownShape` where one is not known."""
    ctx, quantized = quantizer.ctx, quantizer.written(names)
    made = [f"{moved}{pair}" for moved in ("", SUFFIX) for pair in ("", ".q", ".dq")]
    pairs = {f"{name}{suffix}": shape for name, shape in shapes.items() for suffix in made}
    known = {**pairs, **shapes}
    if any(tensor.name not in known for node in quantized.nodes for tensor in node.outputs):
        known = {**pairs, **network_shapes(quantized, ctx), **shapes}

    def latency(graph: gs.Graph, precision: PrecisionRequest = "auto") -> Latency:
        return estimate(graph, known, ctx.target, ctx.options.power_mode, precision)

    whole = latency(quantized)
    before, after = _by_node(latency(quantizer.graph, "fp16")), _by_node(whole)
    saved = {name: max(before.get(name, 0.0) - after.get(name, 0.0), 0.0) for name in names}

    def together(in_float: Collection[str]) -> float:
        return latency(quantizer.written(names - set(in_float))).ms - whole.ms

    return TimeSaved(saved, together, whole.ms)


def _by_node(latency: Latency) -> dict[str, float]:
    return {name: kernel.ms for kernel in latency.kernels for name in kernel.nodes}
