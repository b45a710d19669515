"""MobileNet-v3 and MixNet as ONNX models with random weights, beside the networks of `architectures`.

    python benchmarks/mobile_networks.py mixnet_s mixnet_s.onnx

MobileNet-v3 (arXiv:1905.02244; layers and widths of torchvision), MixNet (arXiv:1907.09595; a kernel for each part of
the channels, and 1x1 Convs in two parts).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import onnx
from architectures import Activation, Network, Weights, eights
from onnx import helper


def mobilenet_v3(net: Network, plan: Sequence[tuple[int, int, int, bool, Activation, int]], hidden: int) -> str:
    """`plan`: kernel, channels between, channels, squeeze-and-excite, activation and stride of each block."""
    x = net.conv_bn("input", 16, 3, 2, act="HardSwish")
    for kernel, wide, n, squeezed, act, stride in plan:
        y = x if wide == net.channels[x] else net.conv_bn(x, wide, 1, act=act)
        y = net.conv_bn(y, wide, kernel, stride, group=wide, act=act)
        y = _excite(net, y, eights(wide / 4), "Relu", "HardSigmoid") if squeezed else y
        x = _residual(net, x, net.conv_bn(y, n, 1), stride)
    x = net.conv_bn(x, 6 * net.channels[x], 1, act="HardSwish")
    x = net.flatten(net.node("GlobalAveragePool", [x]))
    return net.gemm(net.activate(net.gemm(x, hidden), "HardSwish"), 1000)


LARGE: list[tuple[int, int, int, bool, Activation, int]] = [
    (3, 16, 16, False, "Relu", 1), (3, 64, 24, False, "Relu", 2), (3, 72, 24, False, "Relu", 1),
    (5, 72, 40, True, "Relu", 2), (5, 120, 40, True, "Relu", 1), (5, 120, 40, True, "Relu", 1),
    (3, 240, 80, False, "HardSwish", 2), (3, 200, 80, False, "HardSwish", 1), (3, 184, 80, False, "HardSwish", 1),
    (3, 184, 80, False, "HardSwish", 1), (3, 480, 112, True, "HardSwish", 1), (3, 672, 112, True, "HardSwish", 1),
    (5, 672, 160, True, "HardSwish", 2), (5, 960, 160, True, "HardSwish", 1), (5, 960, 160, True, "HardSwish", 1),
]  # fmt: skip
SMALL: list[tuple[int, int, int, bool, Activation, int]] = [
    (3, 16, 16, True, "Relu", 2), (3, 72, 24, False, "Relu", 2), (3, 88, 24, False, "Relu", 1),
    (5, 96, 40, True, "HardSwish", 2), (5, 240, 40, True, "HardSwish", 1), (5, 240, 40, True, "HardSwish", 1),
    (5, 120, 48, True, "HardSwish", 1), (5, 144, 48, True, "HardSwish", 1), (5, 288, 96, True, "HardSwish", 2),
    (5, 576, 96, True, "HardSwish", 1), (5, 576, 96, True, "HardSwish", 1),
]  # fmt: skip


class MixBlocks(NamedTuple):
    """Equal blocks of a MixNet but for the stride, which is of the first; `parts` of the 1x1 Convs."""

    repeat: int
    kernels: tuple[int, ...]
    parts: tuple[int, int]
    stride: int
    expansion: int
    n: int
    squeeze: float = 0.0


def mixnet(net: Network, stem: int, plan: Sequence[MixBlocks], width: float = 1.0) -> str:
    x = net.conv_bn_relu("input", eights(stem * width), 3, 2)
    n = net.channels[x]
    x = net.node("Add", [net.conv_bn(net.conv_bn_relu(x, n, 3, group=n), n, 1), x])
    for blocks in plan:
        for index in range(blocks.repeat):
            x = _mixed_block(net, x, blocks, 1 if index else blocks.stride, eights(blocks.n * width))
    return net.classify(net.conv_bn_relu(x, 1536, 1))


def _mixed_block(net: Network, x: str, blocks: MixBlocks, stride: int, n: int) -> str:
    act: Activation = "SiLU" if blocks.squeeze else "Relu"
    inputs, (first, last) = net.channels[x], blocks.parts
    y = net.activate(net.bn(_mixed(net, x, inputs * blocks.expansion, (1,) * first)), act)
    y = net.activate(net.bn(_mixed(net, y, net.channels[y], blocks.kernels, stride, depthwise=True)), act)
    if blocks.squeeze:
        y = _excite(net, y, int(inputs * blocks.squeeze), "SiLU", "Sigmoid")
    return _residual(net, x, net.bn(_mixed(net, y, n, (1,) * last)), stride)


def _mixed(net: Network, x: str, n: int, kernels: tuple[int, ...], stride: int = 1, depthwise: bool = False) -> str:
    """A kernel for each part of the channels."""
    if len(kernels) == 1:
        return net.conv(x, n, kernels[0], stride, group=n if depthwise else 1)
    maps = _split(net, x, _shares(net.channels[x], len(kernels)))
    sizes = _shares(n, len(kernels))
    parts = zip(maps, sizes, kernels, strict=True)
    return net.concat([net.conv(part, m, k, stride, group=m if depthwise else 1) for part, m, k in parts])


def _shares(n: int, parts: int) -> list[int]:
    """Equal but for the first, which takes what is left over."""
    return [n - (parts - 1) * (n // parts), *[n // parts] * (parts - 1)]


def _split(net: Network, x: str, sizes: list[int]) -> list[str]:
    name = f"split_{len(net.nodes)}"
    maps = [f"{name}.{index}" for index in range(len(sizes))]
    net.nodes.append(helper.make_node("Split", [x, net.constant(f"{name}.sizes", np.array(sizes))], maps, name, axis=1))
    net.channels |= dict(zip(maps, sizes, strict=True))
    return maps


def _excite(net: Network, x: str, n: int, act: Activation, gate: str) -> str:
    """Squeeze-and-excite by n channels."""
    squeezed = net.activate(net.conv(net.node("GlobalAveragePool", [x]), n, 1, bias=True), act)
    attrs = {"alpha": 1 / 6} if gate == "HardSigmoid" else {}
    return net.node("Mul", [x, net.node(gate, [net.conv(squeezed, net.channels[x], 1, bias=True)], None, **attrs)])


def _residual(net: Network, x: str, y: str, stride: int) -> str:
    return net.node("Add", [y, x]) if stride == 1 and net.channels[x] == net.channels[y] else y


MIXNET_S = (
    MixBlocks(1, (3,), (2, 2), 2, 6, 24), MixBlocks(1, (3,), (2, 2), 1, 3, 24),
    MixBlocks(1, (3, 5, 7), (1, 1), 2, 6, 40, 0.5), MixBlocks(3, (3, 5), (2, 2), 1, 6, 40, 0.5),
    MixBlocks(1, (3, 5, 7), (1, 2), 2, 6, 80, 0.25), MixBlocks(2, (3, 5), (1, 2), 1, 6, 80, 0.25),
    MixBlocks(1, (3, 5, 7), (2, 2), 1, 6, 120, 0.5), MixBlocks(2, (3, 5, 7, 9), (2, 2), 1, 3, 120, 0.5),
    MixBlocks(1, (3, 5, 7, 9, 11), (1, 1), 2, 6, 200, 0.5), MixBlocks(2, (3, 5, 7, 9), (1, 2), 1, 6, 200, 0.5),
)  # fmt: skip
MIXNET_M = (
    MixBlocks(1, (3, 5, 7), (2, 2), 2, 6, 32), MixBlocks(1, (3,), (2, 2), 1, 3, 32),
    MixBlocks(1, (3, 5, 7, 9), (1, 1), 2, 6, 40, 0.5), MixBlocks(3, (3, 5), (2, 2), 1, 6, 40, 0.5),
    MixBlocks(1, (3, 5, 7), (1, 1), 2, 6, 80, 0.25), MixBlocks(3, (3, 5, 7, 9), (2, 2), 1, 6, 80, 0.25),
    MixBlocks(1, (3,), (1, 1), 1, 6, 120, 0.5), MixBlocks(3, (3, 5, 7, 9), (2, 2), 1, 3, 120, 0.5),
    MixBlocks(1, (3, 5, 7, 9), (1, 1), 2, 6, 200, 0.5), MixBlocks(3, (3, 5, 7, 9), (1, 2), 1, 6, 200, 0.5),
)  # fmt: skip

MOBILE_NETWORKS: dict[str, Callable[[Network], str]] = {
    "mobilenet_v3_small": partial(mobilenet_v3, plan=SMALL, hidden=1024),
    "mobilenet_v3_large": partial(mobilenet_v3, plan=LARGE, hidden=1280),
    "mixnet_s": partial(mixnet, stem=16, plan=MIXNET_S),
    "mixnet_m": partial(mixnet, stem=24, plan=MIXNET_M),
    "mixnet_l": partial(mixnet, stem=24, plan=MIXNET_M, width=1.3),
}


def build(name: str, weights: Weights = "random", seed: int = 0) -> onnx.ModelProto:
    """The network called `name`, a key of `MOBILE_NETWORKS`, with input (N, 3, 224, 224)."""
    net = Network(weights, seed)
    return net.finish(MOBILE_NETWORKS[name](net), name)


if __name__ == "__main__":
    onnx.save(build(sys.argv[1]), sys.argv[2])
