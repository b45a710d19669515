"""The bytes of a model as protobuf writes them, without a copy of its weights.

A message is its fields one after another, each a key (number << 3 | 2 for what has a length), a length and its bytes:

    model    = fields 1 to 6, key 7, length, graph, the others
    graph    = fields 1 to 4, an initializer after another (key 5, length, tensor), the others
    tensor   = fields 1 to 8, key 9, length, values

so that the values of a weight can be written where they belong while everything around them is serialized as usual.

Source: protobuf, "Encoding"; the numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import TypeVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .external import EXTERNAL

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
Weights = dict[str, gs.Constant]
Chunk = bytes | gs.Constant
M = TypeVar("M", onnx.ModelProto, onnx.GraphProto)


def write(proto: onnx.ModelProto, weights: Weights, sink: Callable[[bytes | memoryview], object]) -> None:
    """Hand the bytes of the model of which `proto` leaves out `weights` to `sink`, one part after another."""
    for piece in _pieces(proto, weights):
        sink(piece if isinstance(piece, bytes) else np.ascontiguousarray(piece.values).data)


def size(proto: onnx.ModelProto, weights: Weights) -> int:
    """How many bytes `write` gives."""
    return _length(_pieces(proto, weights))


def stored_bytes(weight: gs.Constant) -> int:
    dtype = weight.dtype
    assert isinstance(dtype, np.dtype)
    return prod(weight.shape) * dtype.itemsize


def _pieces(proto: onnx.ModelProto, weights: Weights) -> list[Chunk]:
    head, tail = _split(proto, GRAPH)
    first, last = _split(proto.graph, INITIALIZER)
    tensors = [piece for tensor in proto.graph.initializer for piece in _tensor(tensor, weights)]
    graph = [first, *tensors, last]
    return [head, _key(GRAPH, _length(graph)), *graph, tail]


def _tensor(tensor: onnx.TensorProto, weights: Weights) -> Iterator[Chunk]:
    if tensor.data_location != EXTERNAL:
        content = tensor.SerializeToString(deterministic=True)
        yield _key(INITIALIZER, len(content)) + content
        return
    weight = weights[tensor.name]
    header = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    head = header.SerializeToString(deterministic=True) + _key(RAW_DATA, stored_bytes(weight))
    yield _key(INITIALIZER, len(head) + stored_bytes(weight)) + head
    yield weight


def _split(message: M, number: int) -> tuple[bytes, bytes]:
    """What comes before and after the field of this number."""
    return _only(message, range(number)), _only(message, range(number + 1, 1 << 29))


def _only(message: M, numbers: range) -> bytes:
    part = type(message)()
    part.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.number not in numbers:
            part.ClearField(field.name)
    return part.SerializeToString(deterministic=True)


def _length(pieces: list[Chunk]) -> int:
    return sum(len(piece) if isinstance(piece, bytes) else stored_bytes(piece) for piece in pieces)


def _key(number: int, length: int) -> bytes:
    """Key and length of a field; a length is written 7 bits at a time, the lowest first."""
    content = [number << 3 | 2]
    while length > 127:
        content.append(length & 127 | 128)
        length >>= 7
    return bytes([*content, length])
