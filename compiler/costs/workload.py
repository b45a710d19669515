"""A Conv as a price sees it: what it would cost, before it is written.

MACs = P N C/g prod(k)    weights = N C/g prod(k)        N, C: channels out and in, P: output positions of one sample

A rewrite is a chain of such workloads. Anything that knows their time can be a budget: the cost model of a target, or
times measured on a device.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Protocol

import onnx_graphsurgeon as gs

from ..graph.convs import Conv
from ..graph.shapes import Shapes


@dataclass(frozen=True)
class ConvWorkload:
    """One Conv, written or not.

    Attributes:
        channels_in, channels_out: of all groups.
        kernel: its size along each spatial axis.
        positions_in, positions_out: product of the spatial sizes of input and output; 1 where unknown.
        bias: whether it adds one.
        itemsize: bytes of a stored value.
    """

    channels_in: int
    channels_out: int
    kernel: tuple[int, ...]
    group: int
    positions_in: int
    positions_out: int
    bias: bool = False
    itemsize: int = 4

    @property
    def weights(self) -> int:
        return self.channels_out * (self.channels_in // self.group) * prod(self.kernel)

    @property
    def macs(self) -> int:
        return self.positions_out * self.weights

    @property
    def params(self) -> int:
        return self.weights + self.bias * self.channels_out

    @property
    def activations(self) -> int:
        """Bytes of its output."""
        return self.positions_out * self.channels_out * self.itemsize


class LatencyModel(Protocol):
    """Milliseconds on some device, of one sample: a cost model, or a table of measured times."""

    def conv(self, workload: ConvWorkload) -> float: ...

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        """The whole network, so that the Convs are seen beside what else takes time."""
        ...


def conv_workload(conv: Conv, shapes: Shapes) -> ConvWorkload:
    """A Conv of the graph."""
    return ConvWorkload(
        conv.channels,
        conv.filters,
        conv.kernel,
        conv.group,
        positions(conv.input, shapes),
        positions(conv.output, shapes),
        conv.bias is not None,
        conv.dtype.itemsize,
    )


def positions(tensor: gs.Tensor, shapes: Shapes) -> int:
    """Positions of a tensor (N, C, ...) of one sample; 1 where the shape is unknown."""
    return prod(shapes[tensor.name][2:]) if tensor.name in shapes else 1


def chain_costs(workloads: Iterable[ConvWorkload], pricing: LatencyModel | None = None) -> dict[str, float]:
    """macs, params, activations (bytes) and, if priced, latency (ms) of a chain."""
    chain = list(workloads)
    costs: dict[str, float] = {
        "macs": sum(workload.macs for workload in chain),
        "params": sum(workload.params for workload in chain),
        "activations": sum(workload.activations for workload in chain),
    }
    if pricing is not None:
        costs["latency"] = sum(pricing.conv(workload) for workload in chain)
    return costs
