"""Layers for `gpu_kernel.py`: their values, what numpy makes of them, and how their kernel is launched.

The launch is that of `runtime/tensorrt/plugin/spatial_basis_conv.cu`, whose constants stand here again for where the
kernel is compiled without its own launching code; `tests/test_gpu_kernel.py` holds them against each other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

LANES, STEPS, DEPTH, MOST_ROWS, SHARED = 32, 2, 16, 16, 48 * 1024
TILE = LANES * STEPS
AXES = 3
Pair = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """A SpatialBasisConv of two spatial axes; `pads` as in ONNX, (top, left, bottom, right)."""

    samples: int
    channels: int
    filters: int
    templates: int
    size: Pair
    kernel: Pair = (3, 3)
    strides: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilations: Pair = (1, 1)
    groups: int = 1

    @property
    def output(self) -> Pair:
        spans = [(taps - 1) * step + 1 for taps, step in zip(self.kernel, self.dilations, strict=True)]
        rooms = [self.size[axis] + self.pads[axis] + self.pads[axis + 2] - spans[axis] for axis in (0, 1)]
        return rooms[0] // self.strides[0] + 1, rooms[1] // self.strides[1] + 1

    @property
    def macs(self) -> int:
        """Of the dense Conv."""
        return self.samples * prod(self.output) * self.filters * self.channels * prod(self.kernel)

    @property
    def ratio(self) -> float:
        """MACs of the kernel, as a share of the dense Conv's: M / N + G / C."""
        return self.templates / self.filters + self.groups / self.channels

    def inputs(self, kind: str) -> list[np.ndarray]:
        """X (S, C, ...), B (M, C, k...), T (N, G, k...), m (N,), b (N,): outputs have a deviation of about 1."""
        rng = np.random.default_rng(0)
        normal = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
        basis = normal(self.templates, self.channels, *self.kernel) / np.sqrt(self.channels * prod(self.kernel))
        parts = [
            normal(self.samples, self.channels, *self.size),
            basis,
            normal(self.filters, self.groups, *self.kernel),
        ]
        choice = rng.integers(0, self.templates, self.filters, np.int32)
        x, basis, transforms, bias = (part.astype(kind) for part in (*parts, normal(self.filters)))
        return [x, basis, transforms, choice, bias]


def dense_weight(layer: Layer, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """W[n, c, k] = B[m(n), c, k] T[n, g(c), k] in float64."""
    _, basis, transforms, choice, _ = arrays
    scales = np.repeat(transforms.astype(np.float64), layer.channels // layer.groups, axis=1)
    return basis.astype(np.float64)[choice] * scales


def reference(layer: Layer, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The dense Conv with that weight, in float64; of as many samples as X has."""
    x, *_, bias = (array.astype(np.float64) for array in arrays)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(layer.pads[:2], layer.pads[2:], strict=True)])
    rows, columns = (
        np.arange(layer.output[axis])[:, None] * layer.strides[axis]
        + np.arange(layer.kernel[axis]) * layer.dilations[axis]
        for axis in (0, 1)
    )
    windows = padded[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # (S, C, output..., kernel...)
    summed = np.tensordot(windows, dense_weight(layer, arrays), axes=((1, 4, 5), (1, 2, 3)))
    return summed.transpose(0, 3, 1, 2) + bias[:, None, None]


class Shape(ctypes.Structure):
    """`SbcShape` of spatial_basis_conv.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("samples", "channels", "filters", "templates", "groups")),
        *(
            (name, ctypes.c_int32 * AXES)
            for name in ("input", "output", "kernel", "stride", "pad", "dilation")
        ),
    )  # fmt: skip


def shape_of(layer: Layer) -> Shape:
    axes = (layer.size, layer.output, layer.kernel, layer.strides, layer.pads[:2], layer.dilations)
    firsts = (1, 1, 1, 1, 0, 1)
    arrays = [(ctypes.c_int32 * AXES)(first, *values) for first, values in zip(firsts, axes, strict=True)]
    return Shape(layer.samples, layer.channels, layer.filters, layer.templates, layer.groups, *arrays)


@dataclass(frozen=True)
class Launch:
    """Templates of a block, blocks of the grid, threads of a block, bytes of shared memory."""

    templates: int
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int


def launch_of(layer: Layer) -> Launch:
    """As `launch` and `dispatch` of spatial_basis_conv.cu choose it; no templates: a kernel of too many taps."""
    rows = layer.groups * prod(layer.kernel)
    warps = min(rows, MOST_ROWS)
    each, count = 4 * (warps * DEPTH + rows * TILE), 8
    while count > 1 and count // 2 >= layer.templates:
        count //= 2
    while count * each > SHARED:
        count //= 2
    tiles, chunks = -(-prod(layer.output) // TILE), -(-layer.templates // max(count, 1))
    return Launch(count, (tiles, chunks, layer.samples), (LANES, warps, 1), count * each)


def checked() -> Iterator[Layer]:
    """Strides, pads, groups, dilations and kernels; every number of templates per block, partial tiles and chunks."""
    for strides, pads, groups in product(
        ((1, 1), (2, 2), (2, 1)), ((1, 1, 1, 1), (0, 0, 0, 0), (0, 2, 1, 0)), (1, 2, 4)
    ):
        yield Layer(2, 20, 12, 5, (13, 11), strides=strides, pads=pads, groups=groups)
    yield Layer(1, 40, 20, 9, (13, 11))
    yield Layer(3, 16, 16, 1, (9, 9))
    yield Layer(2, 16, 24, 2, (9, 9))
    yield Layer(1, 33, 70, 20, (24, 24), dilations=(2, 2), pads=(2, 2, 2, 2))
    yield Layer(1, 12, 30, 8, (17, 19), (5, 5), pads=(2, 2, 2, 2))
    yield Layer(2, 3, 64, 8, (31, 31), (7, 7), (2, 2), (3, 3, 3, 3))
    yield Layer(1, 8, 10, 4, (12, 12), (7, 7), pads=(3, 3, 3, 3), groups=2)
    yield Layer(1, 17, 10, 4, (40, 3), (1, 3), pads=(0, 1, 0, 1))
    yield Layer(2, 16, 12, 3, (8, 8), (1, 1), pads=(0, 0, 0, 0))


def timed(shares: Sequence[float], batches: Sequence[int]) -> Iterator[tuple[str, Layer]]:
    """The 3 x 3 Convs of ResNet-56 for CIFAR-10, and one of 256 filters on 56 x 56; `shares`: templates per filter."""
    for network, channels, size in (
        ("resnet56", 16, 32),
        ("resnet56", 32, 16),
        ("resnet56", 64, 8),
        ("256 filters", 256, 56),
    ):
        for batch, share in product(batches, shares):
            yield network, Layer(batch, channels, channels, max(1, round(share * channels)), (size, size))
