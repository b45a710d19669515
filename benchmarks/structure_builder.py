"""Appends nodes and random weights to a network, a line for a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str]
IMAGE: Dims = ("N", 3, 16, 16)
FLOAT = TensorProto.FLOAT


@dataclass
class Net:
    """Appends nodes; methods take and give names of tensors. `channels` knows axis 1 of those that Convs read."""

    rng: np.random.Generator
    opset: int = 17
    dims: Dims = IMAGE
    kind: int = FLOAT
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list[onnx.ValueInfoProto])
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list[onnx.ValueInfoProto])
    functions: list[onnx.FunctionProto] = field(default_factory=list[onnx.FunctionProto])
    channels: dict[str, int] = field(default_factory=dict[str, int])
    names: list[str] = field(default_factory=list[str])

    @property
    def x(self) -> str:
        """The image that comes in."""
        return self.input("x", self.dims, self.kind)

    def input(self, name: str, dims: Dims | None = None, kind: int | None = None) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind or self.kind, dims))
        if dims is not None and len(dims) > 1 and isinstance(dims[1], int):
            self.channels[name] = dims[1]
        return name

    def output(self, name: str, dims: Dims | None, kind: int = FLOAT) -> str:
        """Declare what shape inference cannot find; the rest is declared by `build`."""
        self.outputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def name(self, stem: str) -> str:
        self.names.append(f"{stem.lower()}_{len(self.names)}")
        return self.names[-1]

    def many(self, op: str, *inputs: str, count: int, n: Sequence[int] = (), **attrs: Any) -> list[str]:
        found = [self.name(op) for _ in range(count)]
        self.nodes.append(helper.make_node(op, inputs, found, name=f"n{found[0]}", **attrs))
        for one, channels in zip(found, n or [self.channels.get(inputs[0], 0) if inputs else 0] * count, strict=True):
            self.channels[one] = channels
        return found

    def op(self, op: str, *inputs: str, n: int | None = None, **attrs: Any) -> str:
        """A node of one output with `n` channels, as many as the first input has if None."""
        return self.many(op, *inputs, count=1, n=() if n is None else (n,), **attrs)[0]

    def const(self, values: object, kind: int | None = None) -> str:
        """An initializer; of the network's float type unless the kind is given or the values are integers."""
        array = np.asarray(values)
        if array.dtype.kind == "f" or kind is not None:
            array = array.astype(helper.tensor_dtype_to_np_dtype(kind or self.kind))
        self.weights.append(numpy_helper.from_array(array, self.name("w")))
        return self.names[-1]

    def normal(self, *shape: int) -> np.ndarray:
        """He-normal."""
        return self.rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))

    def conv(
        self,
        x: str,
        n: int,
        k: int = 3,
        weight: str = "",
        bias: bool = True,
        group: int = 1,
        op: str = "Conv",
        **a: Any,
    ) -> str:
        """A Conv (or ConvTranspose) of n filters k x k that keeps the size, unless `a` says otherwise."""
        axes = a.pop("axes", 2)
        first, second = (n, self.channels[x] // group) if op == "Conv" else (self.channels[x], n // group)
        inputs = [x, weight or self.const(self.normal(first, second, *[k] * axes))]
        if bias:
            inputs.append(self.const(self.rng.standard_normal(n) / 10))
        if "auto_pad" not in a:
            a.setdefault("pads", [k // 2] * 2 * axes)
        return self.op(op, *inputs, n=n, group=group, **a)

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def block(self, x: str, n: int, k: int = 3, **options: Any) -> str:
        """Conv, BatchNormalization, Relu."""
        return self.relu(self.bn(self.conv(x, n, k, bias=False, **options)))

    def bn(self, x: str, stored: Sequence[str] = (), **attrs: Any) -> str:
        return self.op("BatchNormalization", x, *(stored or self.statistics(self.channels[x])), **attrs)

    def statistics(self, n: int) -> list[str]:
        draw = self.rng
        values = (draw.uniform(0.5, 2, n), draw.standard_normal(n) / 4, draw.standard_normal(n) / 4)
        return [self.const(value) for value in (*values, draw.uniform(0.5, 2, n))]

    def concat(self, *inputs: str, axis: int = 1) -> str:
        return self.op("Concat", *inputs, n=sum(self.channels[x] for x in inputs), axis=axis)

    def pool(self, x: str, k: int = 2, stride: int = 2, op: str = "MaxPool", pad: int = 0) -> str:
        return self.op(op, x, kernel_shape=[k, k], strides=[stride] * 2, pads=[pad] * 4)

    def over(self, op: str, x: str, *axes: int, keepdims: int = 1) -> str:
        """A reduction, with its axes where the opset has them."""
        if self.opset >= (13 if op == "ReduceSum" else 18):
            return self.op(op, x, self.const(list(axes)), keepdims=keepdims)
        return self.op(op, x, axes=list(axes), keepdims=keepdims)

    def reshape(self, x: str, *dims: int, n: int | None = None) -> str:
        return self.op("Reshape", x, self.const(list(dims)), n=n)

    def transpose(self, x: str, *perm: int, n: int | None = None) -> str:
        return self.op("Transpose", x, perm=list(perm), n=n)

    def split(self, x: str, *sizes: int) -> list[str]:
        if self.opset >= 13:
            return self.many("Split", x, self.const(list(sizes)), count=len(sizes), n=sizes, axis=1)
        return self.many("Split", x, count=len(sizes), n=sizes, axis=1, split=list(sizes))

    def resize(self, x: str, factor: float = 2.0, mode: str = "nearest", **attrs: Any) -> str:
        scales = self.const([1.0, 1.0, factor, factor], FLOAT)
        if self.opset < 11:
            return self.op("Upsample", x, scales, mode=mode)
        return self.op("Resize", x, self.const(np.zeros(0)) if self.opset < 13 else "", scales, mode=mode, **attrs)

    def gemm(self, x: str, n: int) -> str:
        weight, bias = self.const(self.normal(n, self.channels[x])), self.const(self.rng.standard_normal(n))
        return self.op("Gemm", x, weight, bias, n=n, transB=1)

    def head(self, x: str, n: int = 10) -> str:
        """Pooled and classified."""
        return self.gemm(self.op("Flatten", self.op("GlobalAveragePool", x)), n)

    def sub(self) -> Net:
        """The inside of a node: it sees the tensors out here."""
        return Net(self.rng, self.opset, self.dims, self.kind, channels=self.channels, names=self.names)

    def body(self, *outputs: str, kind: int = FLOAT, first: int | None = None) -> onnx.GraphProto:
        """The graph of a node's inside; `first`: the type of its first output, where that is another."""
        kinds = [kind if first is None or index else first for index in range(len(outputs))]
        results = [helper.make_tensor_value_info(name, each, None) for name, each in zip(outputs, kinds, strict=True)]
        return helper.make_graph(self.nodes, self.name("body"), self.inputs, results, self.weights)
