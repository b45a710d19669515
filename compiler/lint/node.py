"""A node as rules see it: name, attributes, and of every input the constant, type, shape and producer.

A node's name is the one that TensorRT gives its layer: the node's own, or `node_of_` and its first output
(onnx-tensorrt, `getNodeName`). A constant is what the parser calls weights: an initializer, or the output of a Constant
node. What is not known (a type, a shape, data in a file that is not there) is None, and rules stay silent about it.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..graph.normalize import ONNX_DOMAINS
from ..graph.training_mode import training_mode
from ..targets import Target
from .context import LintContext

Dim = int | str | None
Shape = tuple[Dim, ...]
TensorTypes = dict[str, onnx.TypeProto.Tensor]
TYPES = {
    "FLOAT": "FP32",
    "DOUBLE": "FP32",
    "FLOAT16": "FP16",
    "BFLOAT16": "BF16",
    "FLOAT8E4M3FN": "FP8",
    "FLOAT4E2M1": "FP4",
}


@dataclass(frozen=True, eq=False)
class Scope:
    """What the nodes of one graph can see: their own tensors and those of the graphs around it."""

    graph: onnx.GraphProto
    constants: ChainMap[str, onnx.TensorProto]
    producers: ChainMap[str, Node]
    types: ChainMap[str, onnx.TypeProto.Tensor]

    def inner(self, graph: onnx.GraphProto) -> Scope:
        return Scope(graph, self.constants.new_child(), self.producers.new_child(), self.types.new_child())


@dataclass(frozen=True, eq=False)
class Node:
    """One node; inputs are asked for by index. `bodies` are its subgraphs, by attribute."""

    proto: onnx.NodeProto
    scope: Scope
    context: LintContext
    bodies: dict[str, Scope] = field(default_factory=dict[str, Scope])

    @property
    def op(self) -> str:
        return self.proto.op_type

    @property
    def name(self) -> str:
        first = self.proto.output[0] if self.proto.output else self.op
        return self.proto.name or f"node_of_{first}"

    @property
    def inputs(self) -> list[str]:
        return list(self.proto.input)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        found = {attribute.name: helper.get_attribute_value(attribute) for attribute in self.proto.attribute}
        return {name: _text(value) for name, value in found.items()}

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    @property
    def training_mode(self) -> str | None:
        """What puts the node into training mode, or None."""
        if self.proto.domain not in ONNX_DOMAINS:
            return None
        flag = self.values(2) if self.op == "Dropout" else None
        return training_mode(self.op, self.context.opset, self.attributes, list(self.proto.output), flag)

    @property
    def stored(self) -> onnx.TensorProto | None:
        """What a Constant node holds."""
        if self.op != "Constant" or not self.proto.output or not self.proto.attribute:
            return None
        value = next(iter(self.attributes.values()))
        if isinstance(value, onnx.TensorProto):
            return value
        if _is_numeric(value):
            kind = np.float32 if "float" in self.proto.attribute[0].name else np.int64
            return numpy_helper.from_array(np.asarray(value, kind))
        return None

    def has(self, index: int) -> bool:
        """Whether the input is there (an optional one may be left out, or be the empty name)."""
        return index < len(self.proto.input) and bool(self.proto.input[index])

    def constant(self, index: int) -> onnx.TensorProto | None:
        return self.scope.constants.get(self.proto.input[index]) if self.has(index) else None

    def computed(self, index: int) -> bool:
        """Whether the input is there and is no constant."""
        return self.has(index) and self.constant(index) is None

    def values(self, index: int) -> np.ndarray | None:
        tensor = self.constant(index)
        return None if tensor is None else self.context.values(tensor)

    def producer(self, index: int) -> Node | None:
        return self.scope.producers.get(self.proto.input[index]) if self.has(index) else None

    def shape(self, index: int) -> Shape | None:
        """A number, the name of a dynamic dimension, or None, for each axis."""
        tensor = self.constant(index)
        if tensor is not None:
            return tuple(tensor.dims)
        return shape_of(self._type(index))

    def rank(self, index: int) -> int | None:
        shape = self.shape(index)
        return None if shape is None else len(shape)

    def dtype(self, index: int) -> int | None:
        """The type as onnx.TensorProto numbers it."""
        tensor = self.constant(index)
        if tensor is not None:
            return tensor.data_type
        info = self._type(index)
        return info.elem_type or None if info is not None else None

    def engine_type(self, index: int) -> str | None:
        """The type as TensorRT names it, casts of its parser included."""
        dtype = self.dtype(index)
        return None if dtype is None else engine_type(dtype, self.context.target)

    def _type(self, index: int) -> onnx.TypeProto.Tensor | None:
        return self.scope.types.get(self.proto.input[index]) if self.has(index) else None


def shape_of(info: onnx.TypeProto.Tensor | None) -> Shape | None:
    if info is None or not info.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
        for dim in info.shape.dim
    )


def engine_type(dtype: int, target: Target) -> str:
    """FP32, INT32, ...: doubles are read as FP32, and INT64 as INT32 before TensorRT 9."""
    name = onnx.TensorProto.DataType.Name(dtype)
    if name == "INT64" and target.tensorrt is not None and target.tensorrt < (9, 0):
        return "INT32"
    return TYPES.get(name, name)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_text(part) for part in cast("list[Any]", value)]
    return value


def _is_numeric(value: Any) -> bool:
    """Whether an attribute is a number, or a list of some."""
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return bool(values) and isinstance(values[0], (int, float))
