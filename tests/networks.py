"""Random small networks of everything that channels pass, for the property that pruned equals masked.

Every draw comes from a `random.Random`, so that hypothesis can shrink what fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np
import onnx
from builders import RUNTIME
from onnx import TensorProto, helper, numpy_helper

BATCH = 2


@dataclass
class Network:
    """A model in the making; `live` holds the 4-D tensors that can be read on, with (C, H, W)."""

    random: Random
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    live: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    shared: dict[tuple[int, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = np.random.default_rng(self.random.randrange(2**16))
        self.opset = self.random.choice((17, 18))
        self.live["x"] = (self.random.choice((2, 3)), 4, 4)
        self.start = self.live["x"]

    def add(self, op: str, inputs: list[str], outputs: int = 1, **attrs: object) -> str:
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", **attrs))
        return names[0] if outputs == 1 else names  # type: ignore[return-value]

    def weight(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, *shape: int) -> str:
        fan = max(1, int(np.prod(shape[1:])))
        return self.weight((self.numbers.standard_normal(shape) / fan**0.5).astype(np.float32))

    def ints(self, *values: int) -> str:
        return self.weight(np.array(values, np.int64))

    def mean(self, x: str, *axes: int, keepdims: int) -> str:
        if self.opset >= 18:
            return self.add("ReduceMean", [x, self.ints(*axes)], keepdims=keepdims)
        return self.add("ReduceMean", [x], axes=axes, keepdims=keepdims)

    def pick(self) -> str:
        """A live tensor, preferably a late one."""
        names = list(self.live)
        return names[max(self.random.randrange(len(names)), self.random.randrange(len(names)))]

    def keep(self, name: str, channels: int, height: int, width: int) -> str:
        self.live[name] = (channels, height, width)
        return name

    def conv(self, x: str, filters: int, kernel: int = 1, group: int = 1, stride: int = 1) -> str:
        channels, height, width = self.live[x]
        shape = (filters, channels // group, kernel, kernel)
        if shape not in self.shared or self.random.random() < 0.7:
            self.shared[shape] = self.normal(*shape)
        bias = [self.normal(filters)] if self.random.random() < 0.5 else []
        pad = kernel // 2
        inputs = [x, self.shared[shape], *bias]
        y = self.add("Conv", inputs, group=group, pads=[pad] * 4, strides=[stride] * 2)
        return self.keep(y, filters, (height - 1) // stride + 1, (width - 1) // stride + 1)

    def relu(self, x: str) -> str:
        return self.same(x, self.add("Relu", [x]))

    def like(self, x: str) -> str:
        """A tensor of the shape of `x`: another live one, or one made for it."""
        same = [name for name, shape in self.live.items() if shape == self.live[x] and name != "x"]
        if same and self.random.random() < 0.7:
            return self.random.choice(same)
        near = [name for name, shape in self.live.items() if shape[1:] == self.live[x][1:]]
        return self.conv(self.random.choice(near), self.live[x][0])

    def same(self, x: str, name: str) -> str:
        return self.keep(name, *self.live[x])

    def model(self) -> onnx.ModelProto:
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
            for name, shape in self.outputs.items()
        ]
        source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self.start])
        graph = helper.make_graph(self.nodes, "g", [source], outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def plain_conv(net: Network) -> None:
    kernel, stride = net.random.choice(((1, 1), (3, 1), (3, 2)))
    net.conv(net.pick(), net.random.choice((2, 3, 4, 6)), kernel, 1, stride)


def grouped_conv(net: Network) -> None:
    x = net.pick()
    channels = net.live[x][0]
    groups = [g for g in range(2, channels + 1) if channels % g == 0]
    if groups:
        group = net.random.choice(groups)
        net.conv(x, group * net.random.choice((1, 2, 3)), net.random.choice((1, 3)), group)


def transposed_conv(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    group = net.random.choice([g for g in (1, 2, 3) if channels % g == 0])
    filters = net.random.choice((1, 2, 3))
    y = net.add("ConvTranspose", [x, net.normal(channels, filters, 1, 1), net.normal(group * filters)], group=group)
    net.keep(y, group * filters, height, width)


def residual(net: Network) -> None:
    x = net.pick()
    op = net.random.choice(("Add", "Add", "Sub", "Mul", "Max", "Sum"))
    others = [net.like(x) for _ in range(2 if op == "Sum" else 1)]
    net.same(x, net.add(op, [x, *others]))


def constant_operand(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    shapes = [(1,), (channels, 1, 1), (1, channels, 1, 1), (1, 1, 1, width), (channels, height, width)]
    operand = net.normal(*net.random.choice(shapes))
    net.same(x, net.add(net.random.choice(("Add", "Mul")), net.random.choice(([x, operand], [operand, x]))))


def concat(net: Network) -> None:
    x = net.pick()
    _, height, width = net.live[x]
    near = [name for name, shape in net.live.items() if shape[1:] == (height, width)]
    parts = [x, *(net.random.choice(near) for _ in range(net.random.choice((1, 2))))]
    total = sum(net.live[name][0] for name in parts)
    if total <= 24:
        net.keep(net.add("Concat", parts, axis=1), total, height, width)


def twice(net: Network) -> None:
    """A tensor beside itself, as some exporters widen a shortcut, by Concat or Tile."""
    x = net.pick()
    channels, height, width = net.live[x]
    if channels > 12:
        return
    joined = net.random.random() < 0.6
    y = net.add("Concat", [x, x], axis=1) if joined else net.add("Tile", [x, net.ints(1, 2, 1, 1)])
    net.keep(y, 2 * channels, height, width)


def siamese(net: Network) -> None:
    """One Conv on two tensors, or twice in a row: both read the same weight."""
    x = net.pick()
    channels, _, _ = net.live[x]
    weight, bias = net.normal(channels, channels, 1, 1), net.normal(channels)
    other = net.like(x) if net.random.random() < 0.5 else net.same(x, net.add("Conv", [x, weight, bias]))
    net.same(x, net.add("Conv", [net.relu(other), weight, bias]))
    if net.random.random() < 0.5:
        net.same(x, net.add("Conv", [x, weight, bias]))


def split(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    if channels < 2:
        return
    first = net.random.randrange(1, channels)
    sizes = [net.ints(first, channels - first)] if channels % 2 or net.random.random() < 0.5 else []
    first = first if sizes else channels // 2
    attrs = {} if sizes or net.opset < 18 else {"num_outputs": 2}
    left, right = net.add("Split", [x, *sizes], 2, axis=net.random.choice((1, -3)), **attrs)
    net.keep(left, first, height, width)
    net.keep(right, channels - first, height, width)


def slices(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    start = net.random.randrange(channels)
    end, step = net.random.randrange(start + 1, channels + 1), net.random.choice((1, 1, 2))
    if net.random.random() < 0.3:
        start, end, step = -1, -(2**31), -1
    if step == 1 and net.random.random() < 0.5:
        bounds = [net.ints(0, start), net.ints(2**31, end), net.ints(3, 1), net.ints(1, 1)]
    else:
        bounds = [net.ints(start), net.ints(end), net.ints(1), net.ints(step)]
    net.keep(net.add("Slice", [x, *bounds]), len(range(channels)[start:end:step]), height, width)


def gather(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    picks = [net.random.randrange(-channels, channels) for _ in range(net.random.randrange(1, 5))]
    net.keep(net.add("Gather", [x, net.ints(*picks)], axis=1), len(picks), height, width)


def shortcut(net: Network) -> None:
    """Option A of CIFAR ResNets: every second position, and channels of zeros around."""
    x = net.pick()
    channels, height, width = net.live[x]
    before, after = net.random.choice(((1, 1), (0, 2), (2, 1), (-1, 1)))
    if height < 2 or channels + min(before, 0) < 1:
        return
    everything = 2**31
    half = net.add("Slice", [x, net.ints(0, 0), net.ints(everything, everything), net.ints(2, 3), net.ints(2, 2)])
    pads = net.ints(0, before, 0, 0, 0, after, 0, 0)
    value = [net.weight(np.array(net.random.choice((0.0, 0.5)), np.float32))] if net.random.random() < 0.5 else []
    padded = net.add("Pad", [half, pads, *value])
    net.keep(padded, channels + before + after, (height + 1) // 2, (width + 1) // 2)


def batch_norm(net: Network) -> None:
    x = net.pick()
    channels = net.live[x][0]
    variance = net.weight(net.numbers.uniform(0.5, 1.5, channels).astype(np.float32))
    net.same(x, net.add("BatchNormalization", [x, *(net.normal(channels) for _ in range(3)), variance]))


def instance_norm(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    if height * width > 1:
        net.same(x, net.add("InstanceNormalization", [x, net.normal(channels), net.normal(channels)], epsilon=0.1))


def activation(net: Network) -> None:
    x = net.pick()
    net.same(x, net.add(net.random.choice(("Relu", "Sigmoid", "Tanh", "Identity", "HardSwish")), [x]))


def prelu(net: Network) -> None:
    x = net.pick()
    net.same(x, net.add("PRelu", [x, net.normal(net.random.choice((1, net.live[x][0])), 1, 1)]))


def pool(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    if height > 1:
        op = net.random.choice(("AveragePool", "MaxPool"))
        net.keep(net.add(op, [x], kernel_shape=[2, 2], strides=[2, 2]), channels, height // 2, width // 2)


def resize(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    if height > 4:
        return
    if net.random.random() < 0.5:
        y = net.add("Resize", [x, "", net.weight(np.array([1, 1, 2, 2], np.float32))], mode="nearest")
    else:
        front = net.add("Slice", [net.add("Shape", [x]), net.ints(0), net.ints(2), net.ints(0)])
        y = net.add("Resize", [x, "", "", net.add("Concat", [front, net.ints(2 * height, 2 * width)], axis=0)])
    net.keep(y, channels, 2 * height, 2 * width)


def squeeze_excite(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    pooled = net.keep(net.add("GlobalAveragePool", [x]), channels, 1, 1)
    scale = net.add("Sigmoid", [net.conv(net.relu(net.conv(pooled, 2)), channels)])
    net.keep(net.add("Mul", [x, scale]), channels, height, width)


def shuffle(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    groups = [g for g in (2, 3, 4) if channels % g == 0 and channels > g]
    if not groups:
        return
    group = net.random.choice(groups)
    split = net.add("Reshape", [x, net.ints(net.random.choice((-1, 0)), group, channels // group, height, width)])
    swapped = net.add("Transpose", [split], perm=[0, 2, 1, 3, 4])
    net.same(x, net.add("Reshape", [swapped, net.ints(0, net.random.choice((-1, channels)), height, width)]))


def pixel_shuffle(net: Network) -> None:
    """A Conv that makes four channels of every one, and puts them side by side (sub-pixel convolution)."""
    x = net.pick()
    _, height, width = net.live[x]
    if height <= 4:
        made, mode = net.conv(x, 8), net.random.choice(("DCR", "CRD"))
        net.keep(net.add("DepthToSpace", [made], blocksize=2, mode=mode), 2, 2 * height, 2 * width)


def space_to_depth(net: Network) -> None:
    x = net.pick()
    channels, height, width = net.live[x]
    made = x if channels < 5 and net.random.random() < 0.5 else net.conv(x, 3)
    if height % 2 == 0:
        y = net.add("SpaceToDepth", [made], blocksize=2)
        net.keep(y, 4 * net.live[made][0], height // 2, width // 2)


def depth_to_space(net: Network) -> None:
    """Of channels as they come."""
    x = net.pick()
    channels, height, width = net.live[x]
    if channels % 4 == 0 and height <= 4:
        y = net.add("DepthToSpace", [x], blocksize=2, mode=net.random.choice(("DCR", "CRD")))
        net.keep(y, channels // 4, 2 * height, 2 * width)


def spatial_attention(net: Network) -> None:
    """A map with one channel, made by a Conv or a mean over channels, times all channels."""
    x = net.pick()
    one = net.conv(x, 1) if net.random.random() < 0.7 else net.mean(x, 1, keepdims=1)
    net.same(x, net.add("Mul", [x, one]))


def softmax(net: Network) -> None:
    x = net.pick()
    net.same(x, net.add("Softmax", [x], axis=net.random.choice((1, 2, 3))))


def quantizers(net: Network) -> None:
    x = net.pick()
    channels = net.live[x][0]
    count = net.random.choice((1, channels))
    scale = net.weight(net.numbers.uniform(0.02, 0.05, count).astype(np.float32).reshape(() if count == 1 else count))
    zero = net.weight(np.zeros(() if count == 1 else count, np.int8))
    codes = net.add("QuantizeLinear", [x, scale, zero], axis=1)
    net.same(x, net.add("DequantizeLinear", [codes, scale, zero], axis=1))


def quantized_weight(net: Network) -> None:
    """A Conv whose weight comes from INT8 through DequantizeLinear, with a scale per filter."""
    x = net.pick()
    channels, height, width = net.live[x]
    filters = net.random.choice((2, 4))
    codes = net.weight(net.numbers.integers(-127, 128, (filters, channels, 1, 1)).astype(np.int8))
    scale = net.weight((net.numbers.uniform(0.5, 1, filters) / 100).astype(np.float32))
    weight = net.add("DequantizeLinear", [codes, scale], axis=0)
    net.keep(net.add("Conv", [x, weight]), filters, height, width)


def expanded(net: Network) -> None:
    """Pooled channels spread over the positions again (the image pooling of DeepLab)."""
    x = net.pick()
    channels, height, width = net.live[x]
    pooled = net.add("GlobalAveragePool", [net.conv(x, channels)])
    count = net.random.choice((1, channels))
    net.keep(net.add("Expand", [pooled, net.ints(1, count, height, width)]), channels, height, width)


def layer_norm(net: Network) -> None:
    """Over the positions of each channel, or over the channels of each position, channels last."""
    x = net.pick()
    channels, height, width = net.live[x]
    if RUNTIME <= (1, 23) and min(channels, height * width) == 1:
        return
    if net.random.random() < 0.5:
        net.same(x, net.add("LayerNormalization", [x, net.normal(height, width)], axis=2, epsilon=0.1))
        return
    last = net.add("Transpose", [x], perm=[0, 2, 3, 1])
    mixed = net.add("LayerNormalization", [last, net.normal(channels)], epsilon=0.1)
    net.same(x, net.add("Transpose", [mixed], perm=[0, 3, 1, 2]))


def reduced(net: Network) -> None:
    """Means over positions without their axes, as a vector that scales the channels again."""
    x = net.pick()
    mean = net.mean(x, 2, 3, keepdims=0)
    column = net.add("Unsqueeze", [mean, net.ints(2, 3)])
    net.same(x, net.add("Mul", [x, column]))


BLOCKS = (
    *(plain_conv, plain_conv, plain_conv, grouped_conv, grouped_conv, transposed_conv, residual, residual, residual),
    *(constant_operand, concat, concat, split, slices, gather, shortcut, batch_norm, instance_norm, activation, prelu),
    *(pool, resize, squeeze_excite, shuffle, spatial_attention, softmax, quantizers, quantized_weight, reduced),
    *(twice, siamese, pixel_shuffle, depth_to_space, space_to_depth, expanded, layer_norm),
)


def flatten_head(net: Network, x: str) -> None:
    channels, height, width = net.live[x]
    size = channels * height * width
    batch = net.add("Gather", [net.add("Shape", [x]), net.ints(0)])
    flat = net.random.choice(
        (
            lambda: net.add("Flatten", [x]),
            lambda: net.add("Reshape", [x, net.ints(0, -1)]),
            lambda: net.add("Reshape", [x, net.ints(-1, size)]),
            lambda: net.add("Reshape", [x, net.add("Concat", [batch, net.ints(size)], axis=0)]),
        )
    )()
    hidden = net.add("Gemm", [flat, net.normal(5, size), net.normal(5)], transB=1)
    net.outputs[net.add("MatMul", [net.add("Relu", [hidden]), net.normal(5, 3)])] = (3,)


def pooled_head(net: Network, x: str) -> None:
    pooled = net.add("Flatten", [net.add("GlobalAveragePool", [x])])
    net.outputs[net.add("Gemm", [pooled, net.normal(net.live[x][0], 3)])] = (3,)


def map_head(net: Network, x: str) -> None:
    net.outputs[net.conv(x, 2)] = (2, *net.live[x][1:])


def tokens_head(net: Network, x: str) -> None:
    """Positions as tokens, channels last."""
    channels, height, width = net.live[x]
    rows = net.add("Reshape", [x, net.ints(0, net.random.choice((0, channels)), height * width)])
    tokens = net.add("Transpose", [rows], perm=[0, 2, 1])
    hidden = net.add("Add", [net.add("MatMul", [tokens, net.normal(channels, 4)]), net.normal(4)])
    net.outputs[net.add("MatMul", [hidden, net.normal(4, 2)])] = (height * width, 2)


def network(random: Random) -> onnx.ModelProto:
    """A model with input `x` (N, 2 or 3, 4, 4), in which every tensor leads to an output."""
    net = Network(random)
    net.conv("x", random.choice((4, 6)), 3)
    for _ in range(random.randrange(3, 12)):
        random.choice(BLOCKS)(net)
    read = {name for node in net.nodes for name in node.input}
    for name in [name for name in net.live if name not in read]:
        random.choice((flatten_head, pooled_head, map_head, tokens_head))(net, name)
    return net.model()
