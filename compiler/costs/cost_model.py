"""The price of a Conv in time, from the latency model of a target's device."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..graph.shapes import Shapes
from ..targets import Target
from .latency import DEVICES, Precision, conv_ms, estimate
from .workload import ConvWorkload, LatencyModel


@dataclass(frozen=True)
class DeviceLatencyModel:
    """By `costs.latency`: a Conv is a kernel of its own, the network is seen with its fusions."""

    target: Target
    device: str
    precision: Precision
    mode: str

    def conv(self, workload: ConvWorkload) -> float:
        return conv_ms(self.device, self.mode, self.precision, workload)

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        return estimate(graph, shapes, self.target, self.mode, self.precision).ms


def device_latency_model(target: Target, precision: Precision, mode: str) -> LatencyModel | None:
    """The target's cost model, or None where it has none; `UsageError` where its device has no such power mode."""
    if target.device not in DEVICES:
        return None
    DEVICES[target.device].mode(mode)
    return DeviceLatencyModel(target, target.device, precision, mode)
