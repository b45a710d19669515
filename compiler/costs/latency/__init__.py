"""How long a graph takes on a device, estimated.

`fusion` makes kernels of the graph, `kernel_work` is what each computes and moves, `kernel_time` what that takes;
`devices` and `constants` are data. `conv_ms` prices one Conv without a graph. It is an estimate of the GPU's time for
one sample at the full clock of the mode: no copies to and from the host, no waiting.

Nothing was measured by this project: constants are fitted to what others published (`benchmarks/fit_latency.py`).

Jetson AGX Xavier: four constants, FP16 latencies of 12 networks.

    each network from the fit to the 11 others    8 % (root mean square), at most 21 % (SqueezeNet 1.1, too slow)
    each of 4 families from the others            21 %, at most 37 % (VGG-19, too slow)
    in no fit: DenseNet-121 FP16                  11 % too slow
    in no fit: MobileNet-v2, MnasNet 0.5, 0.75, 1, 1.3 FP16    8, 15, 6 % too slow, 1, 7 % too fast
    in no fit: ResNet-50, MobileNet-v1 INT8       16 % too slow, 21 % too fast

What narrower layers save is underestimated where kernels are small: a MnasNet of half the width takes 0.76 of the time
of the whole one as published, 0.88 by the estimate; of 0.75 the width 0.89 and 0.95, of 1.3 1.16 and 1.09. Tables
differ by as much as the model does: in one of JetPack 4.6, ResNet-34 and 50 take 1.80 and 2.56 times what ResNet-18
does, 1.87 and 2.19 times by the estimate, and ResNet-18 takes a fifth less there than in the table of the fit. The four
constants fitted to eight networks of that table alone give a kernel 7 us instead of 19 and MnasNet's widths 0.75, 0.91
and 1.21; each network is 4 % off from the fit to the others, ResNet-50 in INT8 8 % too fast, MobileNet-v1 40 %.

What was tried, by the leave-one-out error (root mean square, greatest):

    overhead + work + traffic of each kernel, without tiles                    12 %, 29 %
    the same with the greater of work and traffic                              18 %, 51 %
    this model without the time of a single tile                               14 %, 35 %
    this model with the input's 3 channels up to 4 instead of 8                10 %, 28 %
    in-sample only: several tile sizes, products split along their depth       no better

Jetson AGX Orin: the same model; the share of the peak is that of the Xavier, three constants are fitted to FP16
latencies of 8 networks (JetPack 5.0.1: ResNet-18, 34, 50, MobileNet-v3 small and large, YOLOX-s, m, l). A kernel costs
7 us, as on the Xavier by the same table. The share of the bandwidth is nearly 1, presumably since the cache holds maps.

    each network from the fit to the 7 others     6 %, at most 10 % (ResNet-34, too slow)
    each of 3 families from the others            6 %, at most 13 % (ResNet-34, too slow)
    in no fit: MixNet-s, m, l FP16                10, 8 % too slow, 1 % too fast
    in no fit: ResNet-50, SSD-ResNet-34, RetinaNet INT8    25, 13 % too slow, 17 % too fast
    ResNet-50 INT8 at 0.72 of the GPU's clock     1.32 times the time as published, 1.32 by the estimate
    SSD-ResNet-34 INT8 at 0.64 of it              1.51 times as published, 1.55 by the estimate

With all four constants fitted each network is 7 % off, at most 12 %, but ResNet-34 84 % where all ResNets are left out:
the others do not tell the peak from the time of a tile. The constants of the Xavier at the Orin's clocks and units are
37 to 140 % too slow. What a smaller network saves is told within 12 %: MixNet-s and m take 0.66 and 0.86 of the time of
MixNet-l as published, 0.73 and 0.94 by the estimate; ResNet-18 0.60 of that of ResNet-34, 0.54 by the estimate.

INT8, FP32, other modes and, on the Xavier, grouped layers rest on the device's ratios alone. Two kernels never overlap
here, and a tactic that the builder might find for one shape is not known. Rank and compare with it; measure before you
promise.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...errors import UsageError
from ...graph.shapes import Shapes
from ...targets import Target
from .constants import Constants
from .devices import DEVICES
from .kernel_time import Speed, conv_ms, speed
from .kernel_work import KernelWork, kernel_work
from .precision import Precision, PrecisionRequest

__all__ = ["DEVICES", "Kernel", "Latency", "Precision", "PrecisionRequest", "conv_ms", "estimate"]


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
    graph: gs.Graph, shapes: Shapes, target: Target, mode: str = "MAXN", precision: PrecisionRequest = "auto"
) -> Latency:
    """What the engine that `target` builds of `graph` takes for a sample of these `shapes`.

    `precision` "auto" goes by the Q/DQ pairs; for a model with a calibration cache say "int8".

    Raises:
        UsageError: the target has no latency model or no such power mode.
        UnknownShape: the shape of a tensor that a kernel moves is not known.
    """
    if target.device not in DEVICES:
        known = ", ".join(DEVICES)
        raise UsageError(f"no latency model for target '{target.name}'", "latency", f"devices with one: {known}")
    prices = speed(target.device, mode)
    kernels = tuple(_priced(work, prices) for work in kernel_work(graph, shapes, precision))
    return Latency(kernels, _error(kernels, prices.constants))


def _error(kernels: tuple[Kernel, ...], constants: Constants) -> float:
    return constants.int8_error if any(kernel.precision == "int8" for kernel in kernels) else constants.error


def _priced(work: KernelWork, prices: Speed) -> Kernel:
    ms = prices.kernel_ms(work.precision, work.products, work.bytes)
    multiple = prices.device.multiples[work.precision]
    flops = sum(product.padded_flops(multiple) for product in work.products)
    return Kernel(work.name, work.nodes, ms, flops, work.bytes, work.precision)
