"""Models without the bytes of their weights, whose sizes and shapes they still tell.

A weight that is left out is an external tensor (`data_location`) that says of no place: checks that only read names,
types and shapes take it for any other, and nothing is copied, however big the model. The graph holds such stubs instead
of its values while it is exported, and only then.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import dtype_to_onnx
from onnx_graphsurgeon.ir.tensor import LazyValues

from .external import EXTERNAL, SMALL
from .protobuf_writer import Weights, size, stored_bytes


def outlined(graph: gs.Graph, least: int = SMALL) -> tuple[onnx.ModelProto, Weights]:
    """The graph without the values of its weights of so many bytes or more, and these by name."""
    weights = {
        name: tensor
        for name, tensor in graph.tensors().items()
        if isinstance(tensor, gs.Constant) and _is_plain(tensor) and stored_bytes(tensor) >= least
    }
    with left_out(weights.values()):
        return gs.export_onnx(graph, do_type_check=False), weights


def graph_bytes(graph: gs.Graph) -> int:
    """The size of the graph's file."""
    return size(*outlined(graph))


@contextmanager
def left_out(constants: Iterable[gs.Constant]) -> Generator[None, None, None]:
    """Inside, these have stubs for values."""
    held = [(tensor, vars(tensor)["_values"]) for tensor in constants]  # `tensor.values` would load what lies in a file
    try:
        for tensor, _ in held:
            tensor.values = LazyValues(_stub(tensor))  # pyright: ignore[reportAttributeAccessIssue]
        yield
    finally:
        for tensor, values in held:
            tensor.values = values


def _is_plain(tensor: gs.Constant) -> bool:
    """Whether its values lie in memory as they do in a file."""
    dtype = tensor.dtype
    return isinstance(dtype, np.dtype) and dtype.kind in "fiub" and tensor.export_dtype == dtype


def _stub(tensor: gs.Constant) -> onnx.TensorProto:
    kind = dtype_to_onnx(tensor.export_dtype)
    return onnx.TensorProto(name=tensor.name, data_type=kind, dims=tensor.shape, data_location=EXTERNAL)
