"""Models without the bytes of their weights, whose sizes and shapes they still tell.

A weight that is left out is an external tensor (`data_location`) that says of no place: checks that only read names,
types and shapes take it for any other, and nothing is copied, however big the model.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from .external import EXTERNAL, SMALL
from .wire import Weights, size, stored_bytes


def outlined(graph: gs.Graph, least: int = SMALL) -> tuple[gs.Graph, Weights]:
    """A copy of the graph without the values of its weights of so many bytes or more, and these by name."""
    light, weights = graph.copy(), Weights()
    copies = light.tensors()
    for name, tensor in graph.tensors().items():
        if isinstance(tensor, gs.Constant) and (stub := _stub(tensor, least)) is not None:
            weights[name] = tensor
            copies[name].values = LazyValues(stub)  # pyright: ignore[reportAttributeAccessIssue]
    return light, weights


def graph_bytes(graph: gs.Graph) -> int:
    """The size of the graph's file."""
    light, weights = outlined(graph)
    return size(gs.export_onnx(light, do_type_check=False), weights)


def _stub(tensor: gs.Constant, least: int) -> onnx.TensorProto | None:
    dtype = tensor.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind not in "fiub" or tensor.export_dtype != dtype:
        return None
    if stored_bytes(tensor) < least:
        return None
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    return onnx.TensorProto(name=tensor.name, data_type=kind, dims=tensor.shape, data_location=EXTERNAL)
