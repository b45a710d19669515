"""Networks of the literature as ONNX models with random weights: the shapes of torchvision, without torch.

    python benchmarks/architectures.py resnet50 resnet50.onnx

`build(name)` gives a model with input (N, 3, 224, 224) and He-normal weights; `weights="none"` leaves the big weights
out (they become inputs), which is enough for shapes and costs: VGG-16 then takes kilobytes instead of 0.55 GB. The
tests hold parameters and MACs against the published figures. `mobile_networks` and `detectors` have more.

AlexNet (arXiv:1404.5997), SqueezeNet (arXiv:1602.07360), ResNet (arXiv:1512.03385, stride in the 3x3 of a bottleneck),
VGG (arXiv:1409.1556), DenseNet (arXiv:1608.06993), MobileNet-v1 and v2 (arXiv:1704.04861, 1801.04381; ReLU for ReLU6),
MnasNet-B1 (arXiv:1807.11626).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

Weights = Literal["random", "none"]
Activation = Literal["Relu", "HardSwish", "SiLU", "none"]
SMALL = 1024


class Network:
    """Appends layers; every method takes and gives the name of a tensor."""

    def __init__(self, weights: Weights, seed: int, batchnorm: bool = True, side: int = 224):
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, side, side])]
        self.channels: dict[str, int] = {"input": 3}
        self._weights, self._batchnorm, self._named = weights, batchnorm, set[str]()
        self._rng = np.random.default_rng(seed)

    def node(self, op: str, inputs: list[str], channels: int | None = None, **attrs: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attrs))
        self.channels[name] = channels or self.channels[inputs[0]]
        return name

    def weight(self, name: str, *shape: int) -> str:
        """He-normal; as an input without values where the weights are left out. A name that is known is shared."""
        if name in self._named:
            return name
        self._named.add(name)
        if self._weights == "none" and prod(shape) > SMALL:
            self.inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        else:
            values = self._rng.standard_normal(shape, dtype=np.float32)
            values *= np.float32(np.sqrt(2 / prod(shape[1:])))
            self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        """In FP32, but for sizes and indices in INT64. A name that is known is shared."""
        if name not in self._named:
            self._named.add(name)
            stored = values if values.dtype == np.int64 else values.astype(np.float32)
            self.initializers.append(numpy_helper.from_array(stored, name))
        return name

    def conv(self, x: str, n: int, k: int, stride: int = 1, pad: int | None = None, **options: Any) -> str:
        """A Conv of n filters k x k, pad (k - 1) / 2 unless given; options: group, bias, name of its weights."""
        group, base = options.get("group", 1), options.get("name", f"conv{len(self.nodes)}")
        inputs = [x, self.weight(f"{base}.weight", n, self.channels[x] // group, k, k)]
        if options.get("bias", False):
            inputs.append(self.constant(f"{base}.bias", np.zeros(n)))
        pads = [(k - 1) // 2 if pad is None else pad] * 4
        return self.node(
            "Conv", inputs, n, kernel_shape=[k, k], strides=[stride] * 2, pads=pads, group=group, dilations=[1, 1]
        )

    def bn(self, x: str) -> str:
        if not self._batchnorm:
            return x
        n, base = self.channels[x], f"bn{len(self.nodes)}"
        values = {"weight": np.ones(n), "bias": np.zeros(n), "mean": np.zeros(n), "var": np.ones(n)}
        return self.node("BatchNormalization", [x, *(self.constant(f"{base}.{k}", v) for k, v in values.items())])

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def activate(self, x: str, activation: Activation) -> str:
        if activation == "SiLU":
            return self.node("Mul", [x, self.node("Sigmoid", [x])])
        return x if activation == "none" else self.node(activation, [x])

    def conv_relu(self, x: str, n: int, k: int, stride: int = 1, pad: int | None = None) -> str:
        return self.relu(self.conv(x, n, k, stride, pad, bias=True))

    def conv_bn(self, x: str, n: int, k: int, stride: int = 1, group: int = 1, act: Activation = "none") -> str:
        return self.activate(self.bn(self.conv(x, n, k, stride, group=group)), act)

    def conv_bn_relu(self, x: str, n: int, k: int, stride: int = 1, group: int = 1) -> str:
        return self.conv_bn(x, n, k, stride, group, "Relu")

    def concat(self, maps: Sequence[str]) -> str:
        """Over the channels."""
        if len(maps) == 1:
            return maps[0]
        return self.node("Concat", list(maps), sum(self.channels[x] for x in maps), axis=1)

    def pool(self, x: str, k: int, stride: int, pad: int = 0, ceil: int = 0, op: str = "MaxPool") -> str:
        return self.node(op, [x], kernel_shape=[k, k], strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil)

    def gemm(self, x: str, n: int) -> str:
        base = f"gemm{len(self.nodes)}"
        inputs = [x, self.weight(f"{base}.weight", n, self.channels[x]), self.constant(f"{base}.bias", np.zeros(n))]
        return self.node("Gemm", inputs, n, transB=1)

    def flatten(self, x: str, positions: int = 1) -> str:
        return self.node("Flatten", [x], self.channels[x] * positions)

    def classify(self, x: str) -> str:
        return self.gemm(self.flatten(self.node("GlobalAveragePool", [x])), 1000)

    def finish(self, found: str | Sequence[str], name: str) -> onnx.ModelProto:
        """With the last tensor as `logits`, or with these maps as outputs."""
        if isinstance(found, str):
            self.nodes[-1].output[0] = "logits"
            outputs = [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", self.channels[found]])]
        else:
            sizes = {x: ["N", self.channels[x], None, None] for x in found}
            outputs = [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, size) for x, size in sizes.items()]
        graph = helper.make_graph(self.nodes, name, self.inputs, outputs, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def alexnet(net: Network) -> str:
    x = net.pool(net.conv_relu("input", 64, 11, 4, 2), 3, 2)
    x = net.pool(net.conv_relu(x, 192, 5), 3, 2)
    for n in (384, 256, 256):
        x = net.conv_relu(x, n, 3)
    x = net.flatten(net.pool(x, 3, 2), 36)
    return net.gemm(net.relu(net.gemm(net.relu(net.gemm(x, 4096)), 4096)), 1000)


def vgg(net: Network, repeats: tuple[int, ...]) -> str:
    x = "input"
    for n, repeat in zip((64, 128, 256, 512, 512), repeats, strict=True):
        for _ in range(repeat):
            x = net.conv_relu(x, n, 3)
        x = net.pool(x, 2, 2)
    x = net.flatten(x, 49)
    return net.gemm(net.relu(net.gemm(net.relu(net.gemm(x, 4096)), 4096)), 1000)


def squeezenet(net: Network, first: tuple[int, int, int], pools: tuple[int, ...]) -> str:
    """`first`: filters, kernel and padding of the first Conv; a pool stands before the fires of `pools`."""
    n, k, pad = first
    x = net.pool(net.conv_relu("input", n, k, 2, pad), 3, 2, ceil=1)
    for fire, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        x = net.pool(x, 3, 2, ceil=1) if fire in pools else x
        s = net.conv_relu(x, squeeze, 1)
        wide = [net.conv_relu(s, 4 * squeeze, k) for k in (1, 3)]
        x = net.concat(wide)
    return net.flatten(net.node("GlobalAveragePool", [net.conv_relu(x, 1000, 1)]))


def resnet(net: Network, repeats: tuple[int, ...], expansion: int) -> str:
    block = _basic if expansion == 1 else _bottleneck
    x = net.pool(net.conv_bn_relu("input", 64, 7, 2), 3, 2, 1)
    for stage, repeat in enumerate(repeats):
        for index in range(repeat):
            stride = 2 if stage and not index else 1
            n = 64 << stage
            y = block(net, x, n, stride)
            shortcut = x if index else _shortcut(net, x, n * expansion, stride)
            x = net.relu(net.node("Add", [y, shortcut]))
    return net.classify(x)


def _shortcut(net: Network, x: str, n: int, stride: int) -> str:
    return x if net.channels[x] == n and stride == 1 else net.bn(net.conv(x, n, 1, stride))


def _basic(net: Network, x: str, n: int, stride: int) -> str:
    return net.bn(net.conv(net.conv_bn_relu(x, n, 3, stride), n, 3))


def _bottleneck(net: Network, x: str, n: int, stride: int) -> str:
    return net.bn(net.conv(net.conv_bn_relu(net.conv_bn_relu(x, n, 1), n, 3, stride), 4 * n, 1))


def densenet(net: Network, repeats: tuple[int, ...], growth: int = 32) -> str:
    """The Concat before a layer takes every feature map of its block, as torchvision writes it."""
    x = net.pool(net.conv_bn_relu("input", 2 * growth, 7, 2), 3, 2, 1)
    for block, repeat in enumerate(repeats):
        maps = [x]
        for _ in range(repeat):
            bottleneck = net.conv(net.relu(net.bn(net.concat(maps))), 4 * growth, 1)
            maps.append(net.conv(net.relu(net.bn(bottleneck)), growth, 3))
        x = net.relu(net.bn(net.concat(maps)))
        if block < len(repeats) - 1:
            x = net.pool(net.conv(x, net.channels[x] // 2, 1), 2, 2, op="AveragePool")
    return net.classify(x)


def mobilenet_v1(net: Network) -> str:
    x = net.conv_bn_relu("input", 32, 3, 2)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for n, stride in plan:
        depthwise = net.conv_bn_relu(x, net.channels[x], 3, stride, group=net.channels[x])
        x = net.conv_bn_relu(depthwise, n, 1)
    return net.classify(x)


def mobilenet_v2(net: Network) -> str:
    x = net.conv_bn_relu("input", 32, 3, 2)
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, n, repeat, stride in plan:
        for index in range(repeat):
            x = _inverted(net, x, n, 3, 1 if index else stride, expansion)
    return net.classify(net.conv_bn_relu(x, 1280, 1))


def mnasnet(net: Network, width: float) -> str:
    """MnasNet-B1, its channels times `width`, in eights and at least nine tenths of that."""
    stem, first, *rest = (eights(width * n) for n in (32, 16, 24, 40, 80, 96, 192, 320))
    x = net.conv_bn_relu(net.conv_bn_relu("input", stem, 3, 2), stem, 3, group=stem)
    x = net.bn(net.conv(x, first, 1))
    plan = [(3, 3, 3, 2), (5, 3, 3, 2), (5, 6, 3, 2), (3, 6, 2, 1), (5, 6, 4, 2), (3, 6, 1, 1)]
    for n, (kernel, expansion, repeat, stride) in zip(rest, plan, strict=True):
        for index in range(repeat):
            x = _inverted(net, x, n, kernel, 1 if index else stride, expansion)
    return net.classify(net.conv_bn_relu(x, 1280, 1))


def _inverted(net: Network, x: str, n: int, kernel: int, stride: int, expansion: int) -> str:
    """An inverted residual block."""
    wide = net.channels[x] * expansion
    y = x if expansion == 1 else net.conv_bn_relu(x, wide, 1)
    y = net.bn(net.conv(net.conv_bn_relu(y, wide, kernel, stride, group=wide), n, 1))
    return net.node("Add", [y, x]) if stride == 1 and net.channels[x] == n else y


def eights(value: float) -> int:
    """The nearest multiple of 8 that is at least nine tenths of `value`."""
    nearest = max(8, int(value + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * value else nearest + 8


def chain(net: Network, layers: int, channels: int) -> str:
    """So many 3 x 3 Convs in a row at 28 x 28, behind a stem: what is measured when one number grows at a time."""
    x = net.conv_bn_relu("input", channels, 7, 8)
    for _ in range(layers):
        x = net.conv_bn_relu(x, channels, 3)
    return net.classify(x)


ARCHITECTURES: dict[str, Callable[[Network], str]] = {
    "alexnet": alexnet,
    "squeezenet1_0": partial(squeezenet, first=(96, 7, 0), pools=(3, 7)),
    "squeezenet1_1": partial(squeezenet, first=(64, 3, 0), pools=(2, 4)),
    "resnet18": partial(resnet, repeats=(2, 2, 2, 2), expansion=1),
    "resnet34": partial(resnet, repeats=(3, 4, 6, 3), expansion=1),
    "resnet50": partial(resnet, repeats=(3, 4, 6, 3), expansion=4),
    "resnet101": partial(resnet, repeats=(3, 4, 23, 3), expansion=4),
    "resnet152": partial(resnet, repeats=(3, 8, 36, 3), expansion=4),
    "vgg11": partial(vgg, repeats=(1, 1, 2, 2, 2)),
    "vgg13": partial(vgg, repeats=(2, 2, 2, 2, 2)),
    "vgg16": partial(vgg, repeats=(2, 2, 3, 3, 3)),
    "vgg19": partial(vgg, repeats=(2, 2, 4, 4, 4)),
    "densenet121": partial(densenet, repeats=(6, 12, 24, 16)),
    "densenet169": partial(densenet, repeats=(6, 12, 32, 32)),
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    **{f"mnasnet{width}".replace(".", "_"): partial(mnasnet, width=width) for width in (0.5, 0.75, 1.0, 1.3)},
}


def build(name: str, weights: Weights = "random", seed: int = 0, batchnorm: bool = True) -> onnx.ModelProto:
    """The network called `name` at opset 17; `batchnorm=False` as if folded.

    `name` is a key of `ARCHITECTURES`, or `chain-LAYERSxCHANNELS`.
    """
    net = Network(weights, seed, batchnorm)
    if name.startswith("chain-"):
        return net.finish(chain(net, *map(int, name.removeprefix("chain-").split("x"))), name)
    return net.finish(ARCHITECTURES[name](net), name)


if __name__ == "__main__":
    onnx.save(build(sys.argv[1]), sys.argv[2])
