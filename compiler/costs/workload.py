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
from ..graph.weights import is_quantized


@dataclass(frozen=True)
class ConvWorkload:
    """One Conv, written or not.

    Attributes:
        channels_in, channels_out: of all groups.
        kernel: its size along each spatial axis.
        positions_in, positions_out: product of the spatial sizes of input and output; None where they are not known.
        bias: whether it adds one.
        itemsize: bytes of a stored value.
        batch: samples that the network takes at once; counts are of one of them.
        quantized: its data and its weight come out of DequantizeLinear.
    """

    channels_in: int
    channels_out: int
    kernel: tuple[int, ...]
    group: int
    positions_in: int | None
    positions_out: int | None
    bias: bool = False
    itemsize: int = 4
    batch: int = 1
    quantized: bool = False

    @property
    def weights(self) -> int:
        return self.channels_out * (self.channels_in // self.group) * prod(self.kernel)

    @property
    def macs(self) -> int | None:
        return None if self.positions_out is None else self.positions_out * self.weights

    @property
    def params(self) -> int:
        return self.weights + self.bias * self.channels_out

    @property
    def activations(self) -> int | None:
        """Bytes of its output."""
        return None if self.positions_out is None else self.positions_out * self.channels_out * self.itemsize

    def positions(self) -> tuple[int, int]:
        """In and out; `ValueError` where one is not known: then it has no price in time."""
        if self.positions_in is None or self.positions_out is None:
            raise ValueError("a workload whose positions are not known has no price in time")
        return self.positions_in, self.positions_out


class LatencyModel(Protocol):
    """Milliseconds on some device: a cost model, of a batch, or a table of measured times, of one sample."""

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
        shapes.get(conv.output.name, (1,))[0],
        all(map(is_quantized, conv.node.inputs[:2])),
    )


def positions(tensor: gs.Tensor, shapes: Shapes) -> int | None:
    """Positions of a tensor (N, C, ...) of one sample; None where the shape is not known."""
    return prod(shapes[tensor.name][2:]) if tensor.name in shapes else None


def total(values: Iterable[int | None]) -> int | None:
    """The sum; None where a part is not known."""
    parts = list(values)
    return None if None in parts else sum(part for part in parts if part is not None)


def chain_costs(workloads: Iterable[ConvWorkload], pricing: LatencyModel | None = None) -> dict[str, float]:
    """macs, params, activations (bytes) and, if priced, latency (ms) of a chain; without those that are not known."""
    chain = list(workloads)
    counted = {
        "macs": total(workload.macs for workload in chain),
        "params": sum(workload.params for workload in chain),
        "activations": total(workload.activations for workload in chain),
    }
    costs: dict[str, float] = {unit: value for unit, value in counted.items() if value is not None}
    if pricing is not None:
        costs["latency"] = sum(pricing.conv(workload) for workload in chain)
    return costs
