"""The time of one kernel.

    ms      = overhead + max(traffic, compute)
    traffic = bytes / (bandwidth share * bandwidth)
    compute = hypot(work / (efficiency * peak), depth * serial)

A layer is a product of (rows, depth) and (depth, columns): rows are the output positions, depth is channels times
kernel, columns are the filters. Tensor cores compute it in tiles of `TILE` x `TILE`, along the depth in steps of
`STEP`:

    depth = the input channels up to the device's multiple, times the kernel, up to a multiple of STEP
    tiles = group * ceil(rows / TILE) * ceil(columns / TILE), up to a multiple of the SMs (whole waves)
    work  = 2 * tiles * TILE^2 * depth

The second term of `compute` is the time of one tile by itself: a product with few tiles and great depth leaves most SMs
waiting. A grouped layer, and one of at most `FEW_ROWS` rows (a Linear), may also run on the CUDA cores, at their share
of the peak, without padding and tiles; an INT8 layer of few channels may run there in tiles, its channels up to a
multiple of 4. The cheapest way counts.

Other power modes: peak and bandwidth follow the clocks; both overheads and `serial` are taken to follow the GPU's clock
(an assumption). `serial` goes with the bytes of an element.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, hypot, prod

from ..workload import ConvWorkload
from .constants import CONSTANTS, Constants
from .devices import DEVICES, Device, Mode
from .precision import WIDTH, Precision

TILE = 64
STEP = 64
FEW_ROWS = 8


@dataclass(frozen=True)
class MatrixProduct:
    """The multiplication that a layer is, of a Conv with the whole batch.

    Attributes:
        rows: output positions, all samples of the batch.
        columns: output channels, all groups.
        channels: input channels of one group.
        kernel: number of taps.
        group: number of groups.
    """

    rows: int
    columns: int
    channels: int
    kernel: int = 1
    group: int = 1

    @property
    def macs(self) -> int:
        return self.rows * self.columns * self.channels * self.kernel

    def padded_flops(self, multiple: int) -> int:
        """2 * MACs with the channels of each group up to `multiple`; a depthwise layer is not padded."""
        if self.channels == 1 and self.group > 1:
            return 2 * self.macs
        columns = self.group * _up(ceil(self.columns / self.group), multiple)
        return 2 * self.rows * columns * _up(self.channels, multiple) * self.kernel


@dataclass(frozen=True)
class Speed:
    """A device in one power mode, with the constants that price its kernels."""

    device: Device
    mode: Mode
    constants: Constants

    @property
    def slowdown(self) -> float:
        """How much slower the GPU's clock is than in the fastest mode."""
        return self.device.fastest.gpu_mhz / self.mode.gpu_mhz

    def kernel_ms(self, precision: Precision, products: Iterable[MatrixProduct], traffic: float) -> float:
        """One kernel: the products that it computes and the bytes that it moves."""
        products = tuple(products)
        overhead = self.constants.overhead if products else self.constants.small_overhead
        compute = sum(self._compute(precision, product) for product in products)
        memory = traffic / (self.constants.bandwidth * self.mode.bandwidth)
        return overhead * self.slowdown * 1e-3 + max(memory, compute)

    def _compute(self, precision: Precision, product: MatrixProduct) -> float:
        ways = [self._tiled(precision, product, self.device.multiples[precision], 1.0)]
        share = self.device.cuda_share[precision]
        if precision == "int8":
            ways.append(self._tiled(precision, product, self.device.narrow_multiples[precision], share))
        if product.group > 1 or product.rows <= FEW_ROWS:
            ways.append(2 * product.macs / (self._peak(precision) * share))
        return min(ways)

    def _tiled(self, precision: Precision, product: MatrixProduct, multiple: int, share: float) -> float:
        depth = _up(_up(product.channels, multiple) * product.kernel, STEP)
        columns = ceil(product.columns / product.group)
        tiles = product.group * ceil(product.rows / TILE) * ceil(columns / TILE)
        work = 2 * _up(tiles, self.mode.multiprocessors) * TILE * TILE * depth
        serial = self.constants.serial * 1e-6 * WIDTH[precision] / WIDTH["fp16"] * self.slowdown
        return hypot(work / (self._peak(precision) * share), depth * serial)

    def _peak(self, precision: Precision) -> float:
        return self.constants.efficiency * self.device.peak(self.mode, precision)


@lru_cache
def speed(device: str, mode: str) -> Speed:
    """The fitted prices of a device in a power mode."""
    return Speed(DEVICES[device], DEVICES[device].mode(mode), CONSTANTS[device])


@lru_cache(maxsize=1 << 16)
def conv_ms(device: str, mode: str, precision: Precision, workload: ConvWorkload) -> float:
    """Milliseconds of a Conv on its batch, as a kernel of its own, in a mode of a device of `DEVICES`."""
    channels, columns = workload.channels_in // workload.group, workload.channels_out
    before, after = (workload.batch * positions for positions in workload.positions())
    product = MatrixProduct(after, columns, channels, prod(workload.kernel), workload.group)
    activations = before * workload.channels_in + after * columns
    weights = columns * channels * product.kernel
    return speed(device, mode).kernel_ms(precision, (product,), (activations + weights) * WIDTH[precision])


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
