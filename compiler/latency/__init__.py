"""Estimate."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..errors import UsageError
from ..shapes import Shapes
from ..targets import Target
from .constants import CONSTANTS
from .devices import DEVICES
from .kernels import Work, workload
from .precision import Precision, Request
from .pricing import Speed, conv_ms, speed

__all__ = ["DEVICES", "Kernel", "Latency", "Precision", "Request", "conv_ms", "estimate"]


@dataclass(frozen=True)
class Kernel:
    """One kernel of the engine.

    Attributes:
        name: of the node that decides the cost.
        nodes: names of all ONNX nodes in it.
        ms: its time.
        flops: two per multiply-accumulate, channels padded as the kernel pads them.
        bytes: activations read and written, and weights.
    """

    name: str
    nodes: tuple[str, ...]
    ms: float
    flops: int
    bytes: int
    precision: Precision


@dataclass(frozen=True)
class Latency:
    """An estimate for one sample.

    Attributes:
        kernels: in the order in which they run.
        error: relative error of the model on networks that it was not fitted to (root mean square).
    """

    kernels: tuple[Kernel, ...]
    error: float

    @property
    def ms(self) -> float:
        """Milliseconds on the GPU, from the first kernel to the last."""
        return sum(kernel.ms for kernel in self.kernels)


def estimate(
    graph: gs.Graph, shapes: Shapes, target: Target, mode: str = "MAXN", precision: Request = "auto"
) -> Latency:
    """What the engine that `target` builds of `graph` takes for a sample of these `shapes`.

    `precision` "auto" goes by the Q/DQ pairs; for a model with a calibration cache say "int8". `UsageError` where the
    target has no latency model or no such power mode.
    """
    if target.device not in DEVICES:
        known = ", ".join(DEVICES)
        raise UsageError(f"no latency model for target '{target.name}'", "latency", f"devices with one: {known}")
    prices = speed(target.device, mode)
    kernels = tuple(_priced(work, prices) for work in workload(graph, shapes, precision))
    return Latency(kernels, CONSTANTS[target.device].error)


def _priced(work: Work, prices: Speed) -> Kernel:
    ms = prices.kernel_ms(work.precision, work.products, work.bytes)
    multiple = prices.device.multiples[work.precision]
    flops = sum(product.padded_flops(multiple) for product in work.products)
    return Kernel(work.name, work.nodes, ms, flops, work.bytes, work.precision)
