"""Small networks of the structures that people build, with random weights: one function each, in `STRUCTURES`.

    python benchmarks/structure_networks.py tied-head tied-head.onnx

`build(name)` gives the same model every time. Inputs have 3 channels and 16 x 16 pixels and an open batch, unless a
structure says otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference
from structure_builder import FLOAT, IMAGE, Dims, Net

HALF, DOUBLE, BFLOAT16 = TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16
INT64, BOOL, INT8, UINT8 = TensorProto.INT64, TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8
IR = {9: 4, 11: 6, 13: 7, 17: 8, 19: 9, 21: 10, 22: 10}


Builder = Callable[[Net], "str | Sequence[str]"]
"""Gives the network's outputs."""


@dataclass(frozen=True)
class Structure:
    """A builder, and what its network is like."""

    builder: Builder
    opset: int = 17
    dims: Dims = IMAGE
    kind: int = FLOAT
    ir: int | None = None
    external: bool = False


STRUCTURES: dict[str, Structure] = {}


def structure(name: str = "", **like: Any) -> Callable[[Builder], Builder]:
    """Enter a builder in the table, under its own name unless one is given."""

    def entered(builder: Builder) -> Builder:
        STRUCTURES[name or builder.__name__.replace("_", "-")] = Structure(builder, **like)
        return builder

    return entered


# Shared weights


@structure()
def tied_head(net: Net) -> list[str]:
    x, outputs = net.block(net.x, 16), []
    shared = [net.const(net.normal(16, 16, 3, 3)), net.const(net.normal(8, 16, 3, 3))]
    for level in range(5):
        x = net.block(x, 16) if level < 2 else net.pool(x)
        outputs.append(net.conv(net.relu(net.conv(x, 16, weight=shared[0])), 8, weight=shared[1], bias=False))
    return outputs


@structure()
def siamese(net: Net) -> str:
    weights = [net.const(net.normal(16, 3, 3, 3)), net.const(net.normal(16, 16, 3, 3))]
    branches = []
    for name in ("left", "right"):
        x = net.relu(net.conv(net.input(name, net.dims), 16, weight=weights[0], bias=False))
        branches.append(net.conv(x, 16, weight=weights[1], bias=False))
    return net.over("ReduceMean", net.op("Abs", net.op("Sub", *branches)), 1, 2, 3, keepdims=0)


@structure()
def tied_autoencoder(net: Net) -> str:
    weights = [net.const(net.normal(16, 3, 3, 3)), net.const(net.normal(24, 16, 3, 3))]
    x = net.relu(net.conv(net.x, 16, weight=weights[0]))
    x = net.relu(net.conv(x, 24, weight=weights[1]))
    x = net.relu(net.conv(x, 16, weight=weights[1], op="ConvTranspose"))
    return net.conv(x, 3, weight=weights[0], op="ConvTranspose")


@structure()
def osnet_gates(net: Net) -> str:
    x = net.block(net.x, 16)
    gate = [net.const(net.normal(4, 16, 1, 1)), net.const(net.normal(16, 4, 1, 1))]
    streams, y = [], x
    for _ in range(3):
        y = net.block(net.conv(y, 16, 1), 16, group=16)
        g = net.relu(net.conv(net.op("GlobalAveragePool", y), 4, 1, weight=gate[0]))
        streams.append(net.op("Mul", y, net.op("Sigmoid", net.conv(g, 16, 1, weight=gate[1]))))
    return net.head(net.relu(net.op("Add", x, net.op("Sum", *streams))))


@structure()
def recurrent_conv(net: Net) -> str:
    x, weight = net.block(net.x, 16), net.const(net.normal(16, 16, 3, 3))
    for _ in range(3):
        x = net.relu(net.op("Add", x, net.conv(x, 16, weight=weight, bias=False)))
    return net.head(x)


@structure()
def shared_batchnorm(net: Net) -> str:
    stored, x = net.statistics(16), net.conv(net.x, 16)
    for _ in range(2):
        x = net.conv(net.relu(net.bn(x, stored, epsilon=0.0123)), 16)
    return net.bn(x, stored, epsilon=1e-7)


@structure()
def weight_in_conv_and_gemm(net: Net) -> list[str]:
    x = net.block(net.x, 16)
    weight = net.const(net.normal(10, 16, 1, 1))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x))
    return [net.conv(x, 10, 1, weight=weight), net.op("Gemm", pooled, net.reshape(weight, 10, 16), transB=1, n=10)]


# Families of networks


@structure()
def channel_shuffle(net: Net) -> str:
    x = net.block(net.x, 16)
    for _ in range(2):
        y = net.block(x, 16, 1, group=4)
        y = net.reshape(net.transpose(net.reshape(y, 0, 4, 4, 16, 16), 0, 2, 1, 3, 4), 0, 16, 16, 16, n=16)
        x = net.relu(net.op("Add", x, net.bn(net.conv(net.block(y, 16, group=16), 16, 1, group=4))))
    return net.head(x)


@structure()
def shufflenet_v2(net: Net) -> str:
    x = net.block(net.x, 16)
    for _ in range(2):
        one, two = net.split(x, 8, 8)
        two = net.block(net.block(net.block(two, 8, 1), 8, group=8), 8, 1)
        y = net.reshape(net.concat(one, two), 0, 2, 8, 16, 16)
        x = net.reshape(net.transpose(y, 0, 2, 1, 3, 4), 0, 16, 16, 16, n=16)
    return net.head(x)


@structure()
def densenet(net: Net) -> str:
    x = net.conv(net.x, 16)
    for _ in range(3):
        x = net.concat(x, net.conv(net.relu(net.bn(net.conv(net.relu(net.bn(x)), 16, 1))), 8))
    return net.head(net.pool(net.conv(net.relu(net.bn(x)), 16, 1), op="AveragePool"))


@structure()
def csp(net: Net) -> str:
    x = net.block(net.x, 16)
    one, two = net.block(x, 8, 1), net.block(x, 8, 1)
    two = net.op("Add", two, net.block(net.block(two, 8, 1), 8))
    return net.head(net.block(net.concat(one, two), 16, 1))


@structure()
def elan(net: Net) -> str:
    x = net.block(net.x, 16)
    maps = [net.block(x, 8, 1), net.block(x, 8, 1)]
    for _ in range(2):
        maps.append(net.block(net.block(maps[-1], 8), 8))
    return net.head(net.block(net.concat(*maps), 16, 1))


@structure()
def spp(net: Net) -> str:
    x = net.block(net.x, 8)
    maps = [x, *(net.pool(x, k, 1, pad=k // 2) for k in (3, 5, 7))]
    return net.conv(net.block(net.concat(*maps), 16, 1), 8)


@structure()
def focus(net: Net) -> str:
    x, parts = net.x, []
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
        ends = (net.const(values) for values in ([row, column], [1000, 1000], [2, 3], [2, 2]))
        parts.append(net.op("Slice", x, *ends))
    return net.head(net.block(net.block(net.concat(*parts), 16), 16))


def pixel_shuffle(net: Net, mode: str) -> str:
    x = net.block(net.block(net.x, 16), 16)
    return net.conv(net.op("DepthToSpace", x, blocksize=2, mode=mode, n=4), 3)


structure("pixel-shuffle-dcr")(partial(pixel_shuffle, mode="DCR"))
structure("pixel-shuffle-crd")(partial(pixel_shuffle, mode="CRD"))


@structure()
def space_to_depth(net: Net) -> str:
    return net.head(net.block(net.op("SpaceToDepth", net.block(net.x, 8), blocksize=2, n=32), 16))


@structure()
def reorg_by_reshape(net: Net) -> str:
    x = net.reshape(net.block(net.x, 8), 0, 8, 8, 2, 8, 2)
    return net.head(net.block(net.reshape(net.transpose(x, 0, 3, 5, 1, 2, 4), 0, 32, 8, 8, n=32), 16))


def pyramid(net: Net) -> list[str]:
    levels = [net.block(net.x, 8)]
    for n in (16, 32):
        levels.append(net.block(levels[-1], n, strides=[2, 2]))
    return levels


@structure()
def fpn_pan(net: Net) -> list[str]:
    laterals = [net.conv(x, 16, 1) for x in pyramid(net)]
    top = [laterals[2]]
    for lateral in (laterals[1], laterals[0]):
        top.append(net.op("Add", net.resize(top[-1]), lateral))
    bottom = [net.conv(top[2], 16)]
    for level in (top[1], top[0]):
        bottom.append(net.op("Add", net.conv(bottom[-1], 16, strides=[2, 2]), level))
    return [net.conv(x, 8) for x in bottom]


@structure()
def bifpn(net: Net) -> list[str]:
    one, two, three = (net.conv(x, 16, 1) for x in pyramid(net))
    weights = net.relu(net.const([0.7, 1.3]))
    normed = net.op("Div", weights, net.op("Add", net.over("ReduceSum", weights, 0), net.const(1e-4)))
    parts = [net.op("Gather", normed, net.const(index), axis=0) for index in (0, 1)]
    two = net.conv(net.op("Add", net.op("Mul", two, parts[0]), net.op("Mul", net.resize(three), parts[1])), 16)
    one = net.op("Add", net.op("Mul", one, parts[0]), net.op("Mul", net.resize(two), parts[1]))
    return [net.conv(x, 8, 1) for x in (one, two)]


@structure()
def unet(net: Net) -> str:
    one = net.block(net.x, 8)
    two = net.block(net.pool(one), 16)
    up = net.conv(two, 8, 2, op="ConvTranspose", strides=[2, 2], pads=[0] * 4)
    return net.op("Sigmoid", net.conv(net.block(net.concat(up, one), 8), 1, 1))


@structure()
def inverted_residual(net: Net) -> str:
    x = net.block(net.x, 8)
    six = [net.const(0.0), net.const(6.0)]
    for _ in range(2):
        y = net.op("Clip", net.bn(net.conv(x, 24, 1)), *six)
        y = net.op("Clip", net.bn(net.conv(y, 24, group=24)), *six)
        x = net.op("Add", x, net.bn(net.conv(y, 8, 1)))
    return net.head(x)


@structure()
def repvgg(net: Net) -> str:
    x = net.block(net.x, 16)
    for _ in range(2):
        x = net.relu(net.op("Sum", net.bn(net.conv(x, 16)), net.bn(net.conv(x, 16, 1)), net.bn(x)))
    return net.head(x)


@structure()
def resnext(net: Net) -> str:
    x = net.block(net.x, 16)
    return net.head(net.relu(net.op("Add", x, net.conv(net.block(net.block(x, 32, 1), 32, group=8), 16, 1))))


def residual(net: Net) -> str:
    x = net.block(net.x, 16)
    x = net.relu(net.op("Add", x, net.bn(net.conv(net.block(x, 16), 16))))
    x = net.pool(net.op("Add", net.conv(x, 24, 1), net.resize(net.pool(net.conv(x, 24)))))
    return net.op("Softmax", net.head(x), axis=1)


for version in IR:
    structure(f"residual-opset{version}", opset=version)(residual)


# Gates and activations


@structure()
def se_conv(net: Net) -> str:
    x = net.block(net.x, 16)
    g = net.conv(net.relu(net.conv(net.op("GlobalAveragePool", x), 4, 1)), 16, 1)
    return net.head(net.block(net.op("Mul", x, net.op("HardSigmoid", g, alpha=1 / 6)), 16))


@structure()
def se_gemm(net: Net) -> str:
    x = net.block(net.x, 16)
    g = net.op("Sigmoid", net.gemm(net.relu(net.gemm(net.over("ReduceMean", x, 2, 3, keepdims=0), 4)), 16))
    return net.head(net.block(net.op("Mul", x, net.reshape(g, -1, 16, 1, 1)), 16))


@structure()
def se_hand(net: Net) -> str:
    x = net.block(net.x, 16)
    g = net.conv(net.over("ReduceMean", x, 2, 3), 16, 1)
    g = net.op("Div", net.op("Clip", net.op("Add", g, net.const(3.0)), net.const(0.0), net.const(6.0)), net.const(6.0))
    return net.head(net.conv(net.op("Mul", g, x, n=16), 16))


@structure()
def cbam(net: Net) -> str:
    x = net.block(net.x, 16)
    weights = [net.const(net.normal(4, 16, 1, 1)), net.const(net.normal(16, 4, 1, 1))]
    sides = []
    for pool in ("GlobalAveragePool", "GlobalMaxPool"):
        y = net.relu(net.conv(net.op(pool, x), 4, 1, weight=weights[0], bias=False))
        sides.append(net.conv(y, 16, 1, weight=weights[1], bias=False))
    x = net.op("Mul", x, net.op("Sigmoid", net.op("Add", *sides)))
    maps = [net.over("ReduceMean", x, 1), net.over("ReduceMax", x, 1)]
    for one in maps:
        net.channels[one] = 1
    return net.head(net.op("Mul", x, net.op("Sigmoid", net.conv(net.concat(*maps), 1, 7))))


@structure()
def eca(net: Net) -> str:
    x = net.block(net.x, 16)
    y = net.reshape(net.op("GlobalAveragePool", x), 0, 1, 16, n=1)
    y = net.op("Sigmoid", net.reshape(net.conv(y, 1, axes=1, bias=False), 0, 16, 1, 1))
    return net.head(net.conv(net.op("Mul", x, y), 16))


@structure()
def non_local(net: Net) -> str:
    x = net.block(net.x, 16)
    q, k, v = (net.reshape(net.conv(x, 8, 1), 0, 8, 256) for _ in range(3))
    weights = net.op("Softmax", net.op("MatMul", net.transpose(q, 0, 2, 1), k), axis=-1)
    y = net.reshape(net.op("MatMul", v, net.transpose(weights, 0, 2, 1)), 0, 8, 16, 16, n=8)
    return net.head(net.op("Add", x, net.conv(y, 16, 1)))


def prelu(net: Net, dims: tuple[int, ...]) -> str:
    x = net.conv(net.x, 16)
    slope = net.const(net.rng.uniform(0, 0.5, dims)) if dims else net.input("slope", (16, 1, 1))
    return net.head(net.conv(net.op("PRelu", x, slope), 16))


for title, form in (("channel", (16, 1, 1)), ("one", (1,)), ("batched", (1, 16, 1, 1)), ("input", ())):
    structure(f"prelu-{title}")(partial(prelu, dims=form))


def hard_swish(net: Net, x: str) -> str:
    clipped = net.op("Clip", net.op("Add", x, net.const(3.0)), net.const(0.0), net.const(6.0))
    return net.op("Mul", x, net.op("Div", clipped, net.const(6.0)))


def silu(net: Net, x: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x))


def mish(net: Net, x: str) -> str:
    return net.op("Mul", x, net.op("Tanh", net.op("Softplus", x)))


def gelu(net: Net, x: str) -> str:
    erf = net.op("Add", net.op("Erf", net.op("Div", x, net.const(2**0.5))), net.const(1.0))
    return net.op("Mul", net.op("Mul", x, erf), net.const(0.5))


def crelu(net: Net, x: str) -> str:
    return net.relu(net.concat(x, net.op("Neg", x)))


def activated(net: Net, act: Callable[[Net, str], str]) -> str:
    return net.head(act(net, net.conv(act(net, net.bn(net.conv(net.x, 16))), 16)))


for act in (hard_swish, silu, mish, gelu, crelu):
    structure(act.__name__.replace("_", "-"))(partial(activated, act=act))


# Normalization


def by_hand(net: Net, x: str, *axes: int) -> str:
    centred = net.op("Sub", x, net.over("ReduceMean", x, *axes))
    variance = net.over("ReduceMean", net.op("Mul", centred, centred), *axes)
    return net.op("Div", centred, net.op("Sqrt", net.op("Add", variance, net.const(1e-5))))


def normalized(net: Net, kind: str) -> str:
    x = net.conv(net.x, 16)
    if kind == "group":
        y = net.reshape(by_hand(net, net.reshape(x, 0, 4, -1), 2), 0, 16, 16, 16, n=16)
    elif kind == "group-by-instance":
        ones, zeros = net.const(np.ones(4)), net.const(np.zeros(4))
        y = net.reshape(net.op("InstanceNormalization", net.reshape(x, 0, 4, -1), ones, zeros), 0, 16, 16, 16, n=16)
    elif kind == "layer-last":
        y = net.transpose(by_hand(net, net.transpose(x, 0, 2, 3, 1), -1), 0, 3, 1, 2, n=16)
    else:
        y = by_hand(net, x, *((1,) if kind == "layer" else (2, 3)))
    scale, shift = net.const(net.rng.uniform(0.5, 2, (16, 1, 1))), net.const(net.rng.standard_normal((16, 1, 1)))
    return net.head(net.conv(net.relu(net.op("Add", net.op("Mul", y, scale, n=16), shift)), 16))


for title in ("group", "group-by-instance", "layer-last", "layer", "instance"):
    structure(f"norm-{title}")(partial(normalized, kind=title))


@structure(opset=21)
def norm_operators(net: Net) -> str:
    x = net.conv(net.x, 16)
    scale, shift = net.const(net.rng.uniform(0.5, 2, 16)), net.const(net.rng.standard_normal(16))
    x = net.conv(net.op("GroupNormalization", x, scale, shift, num_groups=4), 16)
    x = net.transpose(net.op("LayerNormalization", net.transpose(x, 0, 2, 3, 1), scale, shift), 0, 3, 1, 2, n=16)
    return net.output(net.head(net.conv(x, 16)), ("N", 10))


@structure()
def preactivation(net: Net) -> str:
    x = net.conv(net.bn(net.x), 16)
    for _ in range(2):
        x = net.op("Add", x, net.conv(net.relu(net.bn(net.conv(net.relu(net.bn(x)), 16))), 16))
    return net.head(net.relu(net.bn(x)))


@structure()
def local_response(net: Net) -> str:
    return net.head(net.conv(net.op("LRN", net.relu(net.conv(net.x, 16)), size=5), 16))


# Layouts and types


@structure(dims=("N", 16, 16, 3))
def nhwc_input(net: Net) -> str:
    x = net.block(net.transpose(net.x, 0, 3, 1, 2, n=3), 16)
    return net.transpose(net.conv(x, 8), 0, 2, 3, 1)


@structure()
def channels_last_inside(net: Net) -> str:
    x = net.transpose(net.block(net.x, 16), 0, 2, 3, 1)
    x = net.relu(net.op("Add", net.op("MatMul", x, net.const(net.normal(16, 16))), net.const(net.normal(16))))
    return net.head(net.conv(net.transpose(x, 0, 3, 1, 2, n=16), 16))


@structure(kind=UINT8)
def uint8_image(net: Net) -> str:
    x, net.kind = net.op("Cast", net.x, to=FLOAT), FLOAT
    return net.head(net.block(net.op("Div", net.op("Sub", x, net.const(128.0)), net.const(64.0)), 16))


def plain(net: Net) -> str:
    return net.head(net.block(net.block(net.x, 16), 16))


structure("external-data", external=True)(plain)
structure("half", kind=HALF)(plain)
structure("half-opset19", kind=HALF, opset=19)(plain)
structure("double", kind=DOUBLE)(plain)
structure("bfloat16", kind=BFLOAT16, opset=22)(plain)


def stored_as(net: Net, kind: int) -> str:
    x = net.x
    for n in (16, 16):
        weight = net.op("Cast", net.const(net.normal(n, net.channels[x], 3, 3), kind), to=FLOAT)
        x = net.relu(net.conv(x, n, weight=weight))
    return net.head(x)


structure("weights-half")(partial(stored_as, kind=HALF))
structure("weights-double")(partial(stored_as, kind=DOUBLE))
structure("weights-bfloat16")(partial(stored_as, kind=BFLOAT16))


@structure()
def half_island(net: Net) -> str:
    x = net.op("Cast", net.block(net.x, 16), to=HALF)
    net.kind = HALF
    x = net.op("Cast", net.relu(net.conv(x, 16)), to=FLOAT)
    net.kind = FLOAT
    return net.head(net.conv(x, 16))


# Inner graphs


@structure()
def sequence(net: Net) -> str:
    x = net.block(net.x, 16)
    items = net.op("SequenceConstruct", x, net.conv(x, 16))
    y = net.op("ConcatFromSequence", items, axis=1, n=32)
    return net.head(net.conv(y, 16))


@structure()
def if_outer_weights(net: Net) -> str:
    x, weight = net.block(net.x, 16), net.const(net.normal(16, 16, 3, 3))
    condition = net.op("Less", net.over("ReduceMean", x, 0, 1, 2, 3, keepdims=0), net.const(100.0))
    branches = []
    for stride in (1, 1):
        inner = net.sub()
        y = inner.conv(x, 16, weight=weight, bias=False, strides=[stride] * 2)
        branches.append(inner.body(inner.op("Neg", y) if branches else inner.op("Relu", y)))
    y = net.op("If", condition, then_branch=branches[0], else_branch=branches[1], n=16)
    return net.head(net.conv(net.conv(y, 16, weight=weight), 16))


@structure()
def if_convs(net: Net) -> str:
    x, condition = net.block(net.x, 16), net.input("fast", (), BOOL)
    branches = []
    for k in (1, 3):
        inner = net.sub()
        branches.append(inner.body(inner.relu(inner.conv(x, 16, k))))
    return net.head(net.conv(net.op("If", condition, then_branch=branches[0], else_branch=branches[1], n=16), 16))


@structure()
def loop(net: Net) -> str:
    x, inner = net.block(net.x, 16), net.sub()
    inner.input("i", (), INT64), inner.input("go", (), BOOL)
    state = inner.input("state", ("N", 16, 16, 16))
    y = inner.relu(inner.op("Add", state, inner.conv(state, 16)))
    body = inner.body(inner.op("Identity", "go"), y, first=BOOL)
    y = net.op("Loop", net.const(2), net.const(True), x, body=body, n=16)
    return net.head(net.conv(y, 16))


@structure(dims=("N", 4, 3, 16, 16))
def scan_frames(net: Net) -> str:
    frames, inner = net.transpose(net.x, 1, 0, 2, 3, 4), net.sub()
    inner.input("frame", ("N", 3, 16, 16))
    features = net.op("Scan", frames, body=inner.body(inner.head(inner.block("frame", 16))), num_scan_inputs=1)
    return net.gemm(net.op("Identity", net.over("ReduceMean", features, 0, keepdims=0), n=10), 10)


@structure()
def two_ifs_in_a_loop(net: Net) -> list[str]:
    """As a transducer's decoder: graphs in graphs, weights on every floor."""
    x, weight = net.block(net.x, 8), net.const(net.normal(8, 8, 1, 1))
    inner = net.sub()
    inner.input("i", (), INT64), inner.input("go", (), BOOL)
    state, branches = inner.input("state", ("N", 8, 16, 16)), []
    condition = inner.op("Equal", "i", inner.const(0))
    for flip in (False, True):
        deep = inner.sub()
        y = deep.conv(state, 8, 1, weight=weight, bias=flip)
        branches.append(deep.body(deep.op("Tanh", deep.conv(y, 8, 1)) if flip else deep.relu(y)))
    y = inner.op("If", condition, then_branch=branches[0], else_branch=branches[1])
    body = inner.body(inner.op("Identity", "go"), y, inner.over("ReduceMean", y, 1, 2, 3), first=BOOL)
    last, steps = net.many("Loop", net.const(3), net.const(True), x, count=2, n=(8, 8), body=body)
    y = net.output(net.conv(net.conv(last, 8, 1, weight=weight), 8), ("N", 8, 16, 16))
    return [y, net.output(steps, (3, "N", 1, 1, 1))]


@structure()
def local_functions(net: Net) -> str:
    text = [helper.make_node("Conv", ["a", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["r"])]
    net.functions.append(
        helper.make_function("my.blocks", "ConvRelu", ["a", "w"], ["r"], text, [helper.make_opsetid("", 17)])
    )
    x = net.x
    for _ in range(2):
        weight = net.const(net.normal(16, net.channels[x], 3, 3))
        x = net.op("ConvRelu", x, weight, domain="my.blocks", n=16)
    return net.head(net.conv(x, 16))


# Heads and tails


@structure(dims=(1, 3, 16, 16))
def nms(net: Net) -> str:
    x = net.block(net.x, 16)
    corners = net.op("Sigmoid", net.transpose(net.reshape(net.conv(x, 4, 1), 1, 4, 256), 0, 2, 1))
    scores = net.op("Sigmoid", net.reshape(net.conv(x, 2, 1), 1, 2, 256))
    limits = [net.const(9), net.const(0.5, FLOAT), net.const(0.3, FLOAT)]
    return net.op("NonMaxSuppression", corners, scores, *limits)


@structure()
def topk(net: Net) -> list[str]:
    scores = net.op("Sigmoid", net.reshape(net.conv(net.block(net.x, 16), 4, 1), 0, -1))
    return net.many("TopK", scores, net.const([10]), count=2, axis=1)


@structure()
def argmax(net: Net) -> str:
    return net.op("ArgMax", net.resize(net.conv(net.block(net.x, 16, strides=[2, 2]), 5, 1)), axis=1, keepdims=0)


@structure()
def yolo(net: Net) -> str:
    decoded = []
    for size, x in zip((16, 8), pyramid(net)[:2], strict=True):
        y = net.transpose(net.reshape(net.conv(x, 14, 1), 0, 2, 7, size, size), 0, 1, 3, 4, 2)
        y = net.op("Sigmoid", y)
        xy, wh, rest = net.many("Split", y, net.const([2, 2, 3]), count=3, axis=-1)
        rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
        grid = net.const(np.stack([columns, rows], -1)[None, None].astype(np.float32))
        xy = net.op("Mul", net.op("Add", xy, grid), net.const(16.0 / size))
        anchors = net.const(np.array([[4, 8], [8, 4]], np.float32)[None, :, None, None])
        wh = net.op("Mul", net.op("Pow", net.op("Mul", wh, net.const(2.0)), net.const(2.0)), anchors)
        decoded.append(net.reshape(net.op("Concat", xy, wh, rest, axis=-1), 0, -1, 7))
    return net.op("Concat", *decoded, axis=1)


@structure()
def anchor_free(net: Net) -> list[str]:
    outputs = []
    for x in pyramid(net)[:2]:
        x = net.block(x, 16)
        box = net.op("Exp", net.op("Mul", net.conv(x, 4), net.const(0.1)))
        outputs += [net.op("Sigmoid", net.conv(x, 3)), box]
    return outputs


@structure()
def dfl_head(net: Net) -> str:
    x = net.conv(net.block(net.x, 16), 32, 1)
    x = net.op("Softmax", net.transpose(net.reshape(x, 0, 4, 8, 256), 0, 2, 1, 3, n=8), axis=1)
    return net.reshape(net.conv(x, 1, 1, weight=net.const(np.arange(8.0).reshape(1, 8, 1, 1)), bias=False), 0, 4, 256)


@structure()
def ultraface(net: Net) -> list[str]:
    scores, boxes = [], []
    for x in pyramid(net):
        for found, n in ((scores, 2), (boxes, 4)):
            y = net.conv(net.block(x, net.channels[x], group=net.channels[x]), 2 * n)
            found.append(net.reshape(net.transpose(y, 0, 2, 3, 1), 0, -1, n))
    return [net.op("Softmax", net.op("Concat", *scores, axis=1), axis=2), net.op("Concat", *boxes, axis=1)]


@structure(dims=("N", 3, "H", "W"))
def segmentation(net: Net) -> str:
    x = net.x
    y = net.block(net.block(x, 16, strides=[2, 2]), 16, dilations=[2, 2], pads=[2] * 4)
    pooled = net.op("Expand", net.conv(net.op("GlobalAveragePool", y), 8, 1), net.op("Shape", net.conv(y, 8, 1)), n=8)
    y = net.conv(net.concat(y, pooled), 5, 1)
    size = net.op("Slice", net.op("Shape", x), net.const([2]), net.const([4]))
    sizes = net.op("Concat", net.op("Slice", net.op("Shape", y), net.const([0]), net.const([2])), size, axis=0)
    return net.op("Resize", y, "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners", n=5)


@structure(dims=("N", 3, "H", "W"))
def dynamic_size(net: Net) -> str:
    x = net.block(net.x, 16)
    return net.head(net.op("Add", x, net.conv(net.block(x, 16), 16)))


@structure(dims=("N", 3, "H", "W"))
def super_resolution(net: Net) -> str:
    x = net.x
    y = net.conv(net.relu(net.conv(x, 16)), 12)
    up = net.resize(x, mode="linear", coordinate_transformation_mode="half_pixel")
    return net.op("Add", net.op("DepthToSpace", y, blocksize=2, mode="CRD", n=3), up)


@structure()
def auxiliary_head(net: Net) -> list[str]:
    x = net.block(net.x, 16)
    return [net.head(net.block(x, 16)), net.head(x)]


@structure()
def inner_output(net: Net) -> list[str]:
    x = net.conv(net.x, 16)
    y = net.block(net.relu(x), 16)
    return [x, y, net.head(net.conv(y, 16))]


@structure()
def input_as_output(net: Net) -> list[str]:
    x = net.x
    return [net.head(net.block(x, 16)), net.op("Identity", x), net.output(x, net.dims)]


@structure()
def embedding(net: Net) -> str:
    x = net.head(net.block(net.x, 16), 16)
    norm = net.op("Max", net.over("ReduceL2", x, 1), net.const(1e-12))
    return net.op("Div", x, norm)


@structure()
def two_images(net: Net) -> str:
    one, two = (net.block(net.input(name, net.dims), 8) for name in ("before", "after"))
    return net.conv(net.block(net.concat(one, two, net.op("Sub", one, two)), 16), 1)


@structure()
def image_and_scalar(net: Net) -> str:
    x, strength = net.block(net.x, 16), net.input("strength", ())
    return net.conv(net.op("Mul", net.conv(x, 16), strength), 3)


@structure()
def image_and_vector(net: Net) -> str:
    x = net.block(net.x, 16)
    style = net.gemm(net.input("style", ("N", 8)), 32)
    scale, shift = net.split(net.reshape(style, 0, 32, 1, 1, n=32), 16, 16)
    return net.conv(net.op("Add", net.op("Mul", net.conv(x, 16), scale), shift), 3)


# Forms of Conv


@structure()
def deconvolutions(net: Net) -> str:
    x = net.block(net.x, 16)
    x = net.relu(net.conv(x, 16, op="ConvTranspose", group=4, strides=[2, 2], output_padding=[1, 1]))
    return net.conv(x, 8, 4, op="ConvTranspose", strides=[2, 2], pads=[1] * 4)


@structure()
def dilated(net: Net) -> str:
    x = net.block(net.x, 16)
    return net.head(net.concat(*(net.conv(x, 8, dilations=[d, d], pads=[d] * 4) for d in (1, 2, 3))))


@structure()
def asymmetric(net: Net) -> str:
    x = net.relu(net.conv(net.x, 16, pads=[0, 0, 1, 1], strides=[2, 2]))
    x = net.relu(net.conv(x, 16, weight=net.const(net.normal(16, 16, 1, 5)), pads=[0, 1, 0, 3]))
    return net.head(net.conv(x, 16, pads=[2, 0, 0, 2]))


def auto_padded(net: Net, mode: str) -> str:
    x = net.relu(net.conv(net.x, 16, auto_pad=mode, strides=[2, 2]))
    return net.head(net.conv(net.conv(x, 16, 4, auto_pad=mode), 16, auto_pad=mode))


for title in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    structure(f"auto-pad-{title.lower().replace('_', '-')}")(partial(auto_padded, mode=title))


@structure(dims=("N", 4, 64))
def conv_1d(net: Net) -> str:
    x = net.relu(net.bn(net.conv(net.x, 16, 5, axes=1, strides=[2])))
    x = net.op("Add", x, net.conv(net.relu(net.conv(x, 16, axes=1, dilations=[2], pads=[2, 2])), 16, axes=1))
    return net.head(x)


@structure(dims=("N", 2, 8, 8, 8))
def conv_3d(net: Net) -> str:
    x = net.relu(net.bn(net.conv(net.x, 8, axes=3)))
    return net.head(net.op("Add", x, net.conv(x, 8, axes=3)))


@structure()
def depthwise(net: Net) -> str:
    x = net.block(net.x, 16)
    for _ in range(2):
        x = net.block(net.block(x, 16, group=16), 16, 1)
    return net.head(x)


@structure()
def depth_multiplier(net: Net) -> str:
    x = net.block(net.x, 12, group=3)
    return net.head(net.block(net.block(x, 24, group=12), 16, 1))


@structure()
def grouped_unequal(net: Net) -> str:
    x = net.block(net.x, 16)
    return net.head(net.block(net.block(x, 8, group=4), 24, group=2))


@structure()
def one_channel(net: Net) -> str:
    x = net.conv(net.relu(net.conv(net.x, 1)), 16)
    return net.op("Add", net.conv(net.relu(x), 1, 1), net.conv(x, 1))


@structure()
def kernel_as_large_as_input(net: Net) -> str:
    x = net.pool(net.block(net.x, 16))
    x = net.relu(net.conv(x, 24, 8, pads=[0] * 4))
    return net.op("Flatten", net.conv(x, 10, 1))


@structure()
def empty_bias(net: Net) -> str:
    x, weight = net.x, net.const(net.normal(16, 3, 3, 3))
    x = net.relu(net.op("Conv", x, weight, "", pads=[1] * 4, n=16))
    return net.head(net.conv(x, 16, bias=False))


@structure()
def no_attributes(net: Net) -> str:
    x = net.op("Conv", net.x, net.const(net.normal(16, 3, 3, 3)), n=16)
    return net.head(net.op("Conv", net.relu(x), net.const(net.normal(16, 16, 3, 3)), n=16))


# Weights that are not plain


@structure()
def hypernetwork(net: Net) -> str:
    x, code = net.block(net.x, 8), net.input("code", (1, 4))
    weight = net.reshape(net.gemm(code, 8 * 8 * 9), 8, 8, 3, 3)
    return net.head(net.conv(net.relu(net.conv(x, 8, weight=weight)), 8))


@structure(dims=(1, 3, 16, 16))
def correlation(net: Net) -> str:
    weight = net.const(net.normal(8, 3, 3, 3))
    search = net.relu(net.conv(net.x, 8, weight=weight, bias=False))
    template = net.relu(net.conv(net.input("z", (1, 3, 6, 6)), 8, weight=weight, bias=False))
    found = net.op("Conv", search, template, n=1)
    return net.conv(found, 1, 1)


@structure()
def weight_chains(net: Net) -> str:
    x = net.relu(net.conv(net.x, 16, weight=net.op("Identity", net.const(net.normal(16, 3, 3, 3)))))
    weight = net.transpose(net.transpose(net.const(net.normal(16, 16, 3, 3)), 3, 2, 0, 1), 2, 3, 1, 0)
    x = net.relu(net.conv(x, 16, weight=weight, bias=False))
    weight = net.reshape(net.const(net.normal(16, 144)), 16, 16, 3, 3)
    return net.head(net.conv(x, 16, weight=net.op("Cast", net.op("Cast", weight, to=DOUBLE), to=FLOAT)))


@structure()
def weights_dequantized(net: Net) -> str:
    x = net.x
    for n in (16, 16):
        codes = net.const(net.rng.integers(-127, 128, (n, net.channels[x], 3, 3)), INT8)
        scales = net.const(net.rng.uniform(0.5, 2, n) / 500)
        zeros = net.const(np.zeros(n), INT8)
        x = net.relu(net.conv(x, n, weight=net.op("DequantizeLinear", codes, scales, zeros, axis=0)))
    return net.head(x)


def quantized(net: Net, per_channel: bool) -> str:
    def pair(x: str, scale: float, kind: int = UINT8) -> str:
        step, zero = net.const(scale), net.const(128 if kind == UINT8 else 0, kind)
        return net.op("DequantizeLinear", net.op("QuantizeLinear", x, step, zero), step, zero)

    x = pair(net.x, 0.03)
    for n in (16, 16):
        values = net.normal(n, net.channels[x], 3, 3)
        if per_channel:
            step = np.abs(values).max((1, 2, 3)) / 127
            codes = net.const(np.round(values / step[:, None, None, None]), INT8)
            weight = net.op("DequantizeLinear", codes, net.const(step), net.const(np.zeros(n), INT8), axis=0)
        else:
            weight = pair(net.const(values), float(np.abs(values).max() / 127), INT8)
        x = pair(net.relu(net.conv(x, n, weight=weight)), 0.05)
    return net.head(net.conv(x, 16))


structure("qdq-channel")(partial(quantized, per_channel=True))
structure("qdq-tensor")(partial(quantized, per_channel=False))


@structure()
def weight_norm(net: Net) -> str:
    x = net.x
    for n in (16, 16):
        v, g = net.const(net.normal(n, net.channels[x], 3, 3)), net.const(net.rng.uniform(0.5, 2, (n, 1, 1, 1)))
        weight = net.op("Div", net.op("Mul", v, g), net.over("ReduceL2", v, 1, 2, 3))
        x = net.relu(net.conv(x, n, weight=weight))
    return net.head(x)


@structure(ir=3)
def weights_are_inputs_ir3(net: Net) -> str:
    return listed(net)


def listed(net: Net) -> str:
    y = plain(net)
    net.inputs.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in net.weights
    )
    return y


structure("weights-are-inputs")(listed)


@structure()
def weights_in_constant_nodes(net: Net) -> str:
    y = plain(net)
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in net.weights]
    net.nodes[:0] = nodes
    net.weights.clear()
    return y


@structure()
def one_by_one_by_matmul(net: Net) -> str:
    x = net.reshape(net.block(net.x, 16), 0, 16, 256)
    x = net.relu(net.op("MatMul", net.const(net.normal(24, 16)), x))
    return net.head(net.conv(net.reshape(x, 0, 24, 16, 16, n=24), 16))


@structure()
def one_by_one_by_einsum(net: Net) -> str:
    x = net.op("Einsum", net.block(net.x, 16), net.const(net.normal(24, 16)), equation="nchw,kc->nkhw", n=24)
    return net.head(net.conv(net.relu(x), 16))


@structure()
def constant_scales(net: Net) -> str:
    x = net.op("Mul", net.op("Sub", net.x, net.const(0.45)), net.const(4.4))
    x = net.op("Mul", net.conv(x, 16), net.const(net.rng.uniform(0.5, 2, (1, 16, 1, 1))))
    x = net.op("Add", net.conv(x, 16, bias=False), net.const(net.rng.standard_normal((16, 1, 1))))
    return net.head(net.op("Div", net.conv(net.op("Mul", net.relu(x), net.const(0.1)), 16), net.const(3.0)))


# Weights with odd values


def odd(net: Net, change: Callable[[np.ndarray], None]) -> str:
    x = net.x
    for n in (16, 24, 16):
        values = net.normal(n, net.channels[x], 3, 3)
        change(values)
        x = net.relu(net.conv(x, n, weight=net.const(values)))
    return net.head(x)


def _zero(values: np.ndarray) -> None:
    values[::2] = 0


def _dead(values: np.ndarray) -> None:
    values[:, 1::2] = 0


def _equal(values: np.ndarray) -> None:
    values[1::2] = values[::2]


def _near_dead(values: np.ndarray) -> None:
    values[::3] *= 1e-6


def _spread(values: np.ndarray) -> None:
    values *= (10.0 ** np.linspace(-3, 3, len(values)))[:, None, None, None] / 10


def _all_zero(values: np.ndarray) -> None:
    values[:] = 0


def _scaled(factor: float, values: np.ndarray) -> None:
    values *= factor


CHANGES = {"zero": _zero, "dead-inputs": _dead, "equal": _equal, "near-dead": _near_dead, "spread": _spread}
CHANGES |= {"all-zero": _all_zero, "huge": partial(_scaled, 1e4), "tiny": partial(_scaled, 1e-5)}
for title, change in CHANGES.items():
    structure(f"filters-{title}")(partial(odd, change=change))


@structure()
def never_active(net: Net) -> str:
    x = net.conv(net.x, 16, bias=False)
    x = net.relu(net.op("Sub", x, net.const(np.where(np.arange(16) % 2, 100.0, 0.0).reshape(16, 1, 1))))
    return net.head(net.conv(x, 16))


# Between Convs


@structure()
def vision_transformer(net: Net) -> str:
    x = net.conv(net.x, 16, 4, strides=[4, 4], pads=[0] * 4)
    x = net.op("Add", net.transpose(net.reshape(x, 0, 16, 16), 0, 2, 1), net.const(net.normal(1, 16, 16)))
    q, k, v = (net.op("MatMul", by_hand(net, x, -1), net.const(net.normal(16, 16))) for _ in range(3))
    weights = net.op("Mul", net.op("MatMul", q, net.transpose(k, 0, 2, 1)), net.const(0.25))
    x = net.op("Add", x, net.op("MatMul", net.op("Softmax", weights, axis=-1), v))
    return net.head(net.conv(net.reshape(net.transpose(x, 0, 2, 1), 0, 16, 4, 4, n=16), 16))


def recurrent(net: Net, cell: str, gates: int) -> str:
    columns = net.transpose(net.over("ReduceMean", net.block(net.x, 8), 2, keepdims=0), 2, 0, 1)
    weights = [net.const(net.normal(1, gates * 12, 8) / 4), net.const(net.normal(1, gates * 12, 12) / 4)]
    y = net.op("Squeeze", net.op(cell, columns, *weights, hidden_size=12), net.const([1]))
    return net.op("LogSoftmax", net.op("MatMul", y, net.const(net.normal(12, 9))))


structure("conv-lstm")(partial(recurrent, cell="LSTM", gates=4))
structure("conv-gru")(partial(recurrent, cell="GRU", gates=3))


@structure()
def reflection_pad(net: Net) -> str:
    x, pads = net.x, [0, 0, 1, 1, 0, 0, 1, 1]
    for n in (16, 16, 3):
        x = net.op("InstanceNormalization", net.conv(padded(net, x, pads), n, pads=[0] * 4), *net.statistics(n)[:2])
        x = net.relu(x)
    return x


def padded(net: Net, x: str, pads: list[int], mode: str = "reflect") -> str:
    return net.op("Pad", x, net.const(pads), mode=mode)


@structure()
def constant_pad(net: Net) -> str:
    x = net.conv(padded(net, net.x, [0, 0, 1, 1, 0, 0, 2, 2], "constant"), 16, pads=[0] * 4)
    x = padded(net, x, [0, 2, 0, 0, 0, 2, 0, 0], "constant")
    net.channels[x] = 20
    return net.head(net.conv(x, 16))


@structure()
def grid_sample(net: Net) -> str:
    x = net.block(net.x, 16)
    grid = net.op("Tanh", net.transpose(net.conv(x, 2), 0, 2, 3, 1))
    return net.head(net.conv(net.op("GridSample", x, grid, n=16), 16))


@structure()
def deformable_gather(net: Net) -> str:
    x = net.block(net.x, 16)
    flat, offsets = net.reshape(x, 0, 16, 256), net.reshape(net.conv(x, 1), 0, 1, 256)
    at = net.op("Mul", net.op("Sigmoid", offsets), net.const(255.0))
    index = net.op("Expand", net.op("Cast", at, to=INT64), net.op("Shape", flat))
    return net.head(net.conv(net.reshape(net.op("GatherElements", flat, index, axis=2), 0, 16, 16, 16, n=16), 16))


@structure(opset=19)
def deformable_conv(net: Net) -> str:
    x = net.block(net.x, 8)
    y = net.op("DeformConv", x, net.const(net.normal(16, 8, 3, 3)), net.conv(x, 18), pads=[1] * 4, n=16)
    return net.head(net.conv(net.relu(y), 16))


@structure()
def uneven_split(net: Net) -> str:
    one, two, three = net.split(net.block(net.x, 24), 4, 8, 12)
    return net.head(net.conv(net.concat(three, net.conv(two, 8), one), 16))


@structure()
def same_twice(net: Net) -> str:
    x = net.block(net.x, 8)
    y = net.conv(net.concat(x, x), 8)
    return net.head(net.op("Add", net.op("Mul", y, y), net.op("Add", x, x)))


@structure()
def channel_permutation(net: Net) -> str:
    x = net.op("Gather", net.block(net.x, 16), net.const([3, 1, 2, 0, *range(15, 3, -1)]), axis=1)
    return net.head(net.conv(x, 16))


@structure()
def channel_slices(net: Net) -> str:
    x = net.block(net.x, 16)
    one = net.op("Slice", x, net.const([0]), net.const([8]), net.const([1]), n=8)
    two = net.op("Slice", x, net.const([-8]), net.const([2**31 - 1]), net.const([1]), n=8)
    return net.head(net.conv(net.op("Add", net.conv(one, 8), two), 16))


@structure()
def temporal_shift(net: Net) -> str:
    x = net.block(net.x, 16)
    one, two, rest = net.split(x, 4, 4, 8)
    return net.head(net.op("Add", x, net.conv(net.concat(two, one, rest), 16)))


@structure()
def pools(net: Net) -> str:
    x = net.block(net.x, 16)
    maps = [net.op(op, x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1) for op in ("MaxPool", "AveragePool")]
    maps.append(net.op("LpPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    return net.head(net.conv(net.relu(net.concat(*maps)), 16))


@structure()
def max_unpool(net: Net) -> str:
    x = net.block(net.x, 8)
    small, index = net.many("MaxPool", x, count=2, kernel_shape=[2, 2], strides=[2, 2])
    return net.conv(net.op("MaxUnpool", net.conv(small, 8), index, kernel_shape=[2, 2], strides=[2, 2]), 3)


@structure()
def flatten_gemm(net: Net) -> str:
    x = net.op("Flatten", net.pool(net.block(net.x, 8), 4, 4), n=128)
    return net.gemm(net.relu(net.gemm(x, 16)), 10)


@structure()
def dropout(net: Net) -> str:
    x = net.op("Dropout", net.block(net.x, 16))
    return net.head(net.op("Identity", net.conv(x, 16)))


@structure()
def equal_convs(net: Net) -> str:
    x = net.block(net.x, 8)
    weight = net.normal(16, 8, 3, 3)
    return net.head(net.op("Add", *(net.conv(x, 16, weight=net.const(weight), bias=False) for _ in range(2))))


@structure()
def unused_parts(net: Net) -> str:
    x = net.block(net.x, 16)
    net.conv(net.conv(x, 32), 32)
    net.const(net.normal(64, 64, 3, 3))
    return net.head(net.conv(x, 16))


def build(name: str) -> onnx.ModelProto:
    """The network of that name."""
    found = STRUCTURES[name]
    net = Net(np.random.default_rng(crc32(name.encode())), found.opset, found.dims, found.kind)
    given = found.builder(net)
    names = [given] if isinstance(given, str) else list(given)
    declared = {entry.name: entry for entry in net.outputs}
    outputs = [declared.get(one) or onnx.ValueInfoProto(name=one) for one in names]
    graph = helper.make_graph(net.nodes, name, net.inputs, outputs, net.weights)
    opsets = [helper.make_opsetid("", found.opset), *(helper.make_opsetid(f.domain, 1) for f in net.functions[:1])]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=found.ir or IR[found.opset], functions=net.functions
    )
    model = shape_inference.infer_shapes(model, data_prop=True)
    del model.graph.value_info[:]
    return model


def save(name: str, path: Path) -> None:
    """Write the network of that name, with a file of weights beside it where that is its structure."""
    onnx.save(build(name), path, save_as_external_data=STRUCTURES[name].external, size_threshold=0, location="weights")


if __name__ == "__main__":
    save(sys.argv[1], Path(sys.argv[2]))
