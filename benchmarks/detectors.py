"""Detectors as ONNX models with random weights, up to the maps that boxes are decoded from.

    python benchmarks/detectors.py yolox_s yolox_s.onnx

YOLOX (arXiv:2107.08430), SSD with ResNet-34 and RetinaNet with ResNeXt-50 as MLPerf inference has them
(arXiv:1512.02325, 1708.02002, 1611.05431).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
from architectures import Network, Weights


def yolox(net: Network, depth: float, width: float, classes: int = 80) -> list[str]:
    """A map of boxes, objectness and classes for each of the strides 8, 16 and 32."""
    c3, c4, c5 = (int(n * width) for n in (256, 512, 1024))
    repeat = round(3 * depth)
    maps = _darknet(net, repeat, round(9 * depth), width)
    top = net.conv_bn(maps[2], c4, 1, act="SiLU")
    middle = _cross_stage(net, net.concat([_upsample(net, top), maps[1]]), c4, repeat, residual=False)
    low = net.conv_bn(middle, c3, 1, act="SiLU")
    p3 = _cross_stage(net, net.concat([_upsample(net, low), maps[0]]), c3, repeat, residual=False)
    down = net.conv_bn(p3, c3, 3, 2, act="SiLU")
    p4 = _cross_stage(net, net.concat([down, low]), c4, repeat, residual=False)
    down = net.conv_bn(p4, c4, 3, 2, act="SiLU")
    p5 = _cross_stage(net, net.concat([down, top]), c5, repeat, residual=False)
    return [_yolox_head(net, p, c3, classes) for p in (p3, p4, p5)]


def _darknet(net: Network, few: int, many: int, width: float) -> list[str]:
    """The maps of the strides 8, 16 and 32."""
    stem, *rest, last = (int(n * width) for n in (64, 128, 256, 512, 1024))
    x, maps = net.conv_bn(_focus(net), stem, 3, act="SiLU"), list[str]()
    for n, repeat in zip(rest, (few, many, many), strict=True):
        maps.append(x := _cross_stage(net, net.conv_bn(x, n, 3, 2, act="SiLU"), n, repeat))
    x = net.conv_bn(net.conv_bn(x, last, 3, 2, act="SiLU"), last // 2, 1, act="SiLU")
    x = net.conv_bn(net.concat([x, *(net.pool(x, k, 1, k // 2) for k in (5, 9, 13))]), last, 1, act="SiLU")
    return [*maps[1:], _cross_stage(net, x, last, few, residual=False)]


def _focus(net: Network) -> str:
    """Every second pixel, four times: 12 channels of half the side."""
    parts: list[str] = []
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
        base, ends = f"focus{len(net.nodes)}", [np.iinfo(np.int64).max] * 2
        bounds = {"start": [row, column], "end": ends, "axes": [2, 3], "step": [2, 2]}
        inputs = [net.constant(f"{base}.{name}", np.array(values, np.int64)) for name, values in bounds.items()]
        parts.append(net.node("Slice", ["input", *inputs], 3))
    return net.concat(parts)


def _cross_stage(net: Network, x: str, n: int, repeat: int, residual: bool = True) -> str:
    """Half of the channels through `repeat` bottlenecks, half past them."""
    deep, past = (net.conv_bn(x, n // 2, 1, act="SiLU") for _ in range(2))
    for _ in range(repeat):
        y = net.conv_bn(net.conv_bn(deep, n // 2, 1, act="SiLU"), n // 2, 3, act="SiLU")
        deep = net.node("Add", [y, deep]) if residual else y
    return net.conv_bn(net.concat([deep, past]), n, 1, act="SiLU")


def _yolox_head(net: Network, x: str, n: int, classes: int) -> str:
    x = net.conv_bn(x, n, 1, act="SiLU")
    kinds, places = (net.conv_bn(net.conv_bn(x, n, 3, act="SiLU"), n, 3, act="SiLU") for _ in range(2))
    sides = net.conv(places, 4, 1, bias=True)
    sure, which = (net.node("Sigmoid", [net.conv(y, m, 1, bias=True)]) for y, m in ((places, 1), (kinds, classes)))
    return net.concat([sides, sure, which])


SSD_MAPS = ((256, 512, 2, 1), (256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 2, 0), (128, 256, 1, 0))
"""Channels between, channels, stride and padding."""


def ssd_resnet34(net: Network) -> list[str]:
    """Of 1200 x 1200: the third stage keeps its stride, the first of the heads' Convs have strides of 3."""
    x = net.pool(net.conv_bn_relu("input", 64, 7, 2), 3, 2, 1)
    for stage, repeat in enumerate((3, 4, 6)):
        for index in range(repeat):
            x = _basic_block(net, x, 64 << stage, 2 if stage == 1 and not index else 1)
    maps = [x]
    for between, n, stride, pad in SSD_MAPS:
        maps.append(net.conv_relu(net.conv_relu(maps[-1], between, 1), n, 3, stride, pad))
    boxes = zip((4, 6, 6, 6, 4, 4), maps, strict=True)
    return [net.conv(each, m * count, 3, 3, bias=True) for count, each in boxes for m in (4, 81)]


def _basic_block(net: Network, x: str, n: int, stride: int) -> str:
    y = net.conv_bn(net.conv_bn_relu(x, n, 3, stride), n, 3)
    return net.relu(net.node("Add", [y, x if net.channels[x] == n else net.conv_bn(x, n, 1, stride)]))


def retinanet_resnext50(net: Network, classes: int = 264, anchors: int = 9) -> list[str]:
    """Of 800 x 800: scores and boxes for each of five maps of 256 channels."""
    low, middle, high = _resnext50(net)
    inner = [net.conv(high, 256, 1, bias=True)]
    for each in (middle, low):
        inner.append(net.node("Add", [net.conv(each, 256, 1, bias=True), _upsample(net, inner[-1])]))
    maps = [net.conv(each, 256, 3, bias=True) for each in reversed(inner)]
    maps.append(net.conv(maps[-1], 256, 3, 2, bias=True))
    maps.append(net.conv(net.relu(maps[-1]), 256, 3, 2, bias=True))
    heads = (("scores", classes * anchors), ("boxes", 4 * anchors))
    return [_tower(net, each, n, name) for each in maps for name, n in heads]


def _tower(net: Network, x: str, n: int, name: str) -> str:
    """The same weights for each map."""
    for index in range(4):
        x = net.relu(net.conv(x, 256, 3, bias=True, name=f"{name}{index}"))
    return net.conv(x, n, 3, bias=True, name=name)


def _resnext50(net: Network) -> list[str]:
    """The maps of the strides 8, 16 and 32."""
    x, maps = net.pool(net.conv_bn_relu("input", 64, 7, 2), 3, 2, 1), list[str]()
    for stage, repeat in enumerate((3, 4, 6, 3)):
        n = 128 << stage
        for index in range(repeat):
            stride = 2 if stage and not index else 1
            y = net.conv_bn(net.conv_bn_relu(net.conv_bn_relu(x, n, 1), n, 3, stride, group=32), 2 * n, 1)
            x = net.relu(net.node("Add", [y, x if index else net.conv_bn(x, 2 * n, 1, stride)]))
        maps.append(x)
    return maps[1:]


def _upsample(net: Network, x: str) -> str:
    """Twice the side, by the nearest pixel."""
    scales = net.constant(f"scales{len(net.nodes)}", np.array([1.0, 1.0, 2.0, 2.0]))
    attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return net.node("Resize", [x, "", scales], None, **attrs)


DETECTORS: dict[str, tuple[int, Callable[[Network], list[str]]]] = {  # side of the input
    "yolox_s": (640, partial(yolox, depth=0.33, width=0.5)),
    "yolox_m": (640, partial(yolox, depth=0.67, width=0.75)),
    "yolox_l": (640, partial(yolox, depth=1.0, width=1.0)),
    "ssd_resnet34": (1200, ssd_resnet34),
    "retinanet_resnext50": (800, retinanet_resnext50),
}


def build(name: str, weights: Weights = "random", seed: int = 0) -> onnx.ModelProto:
    """The network called `name`, a key of `DETECTORS`."""
    side, builder = DETECTORS[name]
    net = Network(weights, seed, side=side)
    return net.finish(builder(net), name)


if __name__ == "__main__":
    onnx.save(build(sys.argv[1]), sys.argv[2])
