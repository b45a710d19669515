"""The price of a Conv in time, from the latency model of a target's device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..graph.quantization.outline import shapes_of_pairs
from ..graph.shapes import Shapes
from ..targets import Target
from .latency import DEVICES, Precision, PrecisionRequest, conv_ms, estimate
from .workload import ConvWorkload


@dataclass(frozen=True)
class Foreseen:
    """What an engine will get to see of a graph, and the precision that it builds it in (see `costs.latency`)."""

    graph: gs.Graph
    precision: PrecisionRequest = "auto"


Foresee = Callable[[gs.Graph], Foreseen]


@dataclass(frozen=True)
class DeviceLatencyModel:
    """By `costs.latency`: a Conv is a kernel of its own, the network is seen with its fusions.

    Attributes:
        precision: of what is not quantized yet.
        foresee: what later passes make of a network before the engine sees it; None prices all in `precision`.
    """

    target: Target
    device: str
    precision: Precision
    mode: str
    foresee: Foresee | None = None

    def conv(self, workload: ConvWorkload) -> float:
        quantized = workload.quantized and self.foresee is not None
        return conv_ms(self.device, self.mode, "int8" if quantized else self.precision, workload)

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        seen = Foreseen(graph, self.precision) if self.foresee is None else self.foresee(graph)
        return estimate(seen.graph, shapes_of_pairs(seen.graph, shapes), self.target, self.mode, seen.precision).ms


def device_latency_model(
    target: Target, precision: Precision, mode: str, foresee: Foresee | None = None
) -> DeviceLatencyModel | None:
    """The target's cost model, or None where it has none; `UsageError` where its device has no such power mode."""
    if target.device not in DEVICES:
        return None
    DEVICES[target.device].mode(mode)
    return DeviceLatencyModel(target, target.device, precision, mode, foresee)
