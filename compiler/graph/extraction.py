"""A few nodes of a graph as a model of their own.

Nodes that compute only from constants (the Q/DQ pair of a weight) come along. What else is read becomes an input; what
is read outside, or is an output of the graph, becomes an output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import helper


def extract(graph: gs.Graph, names: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto | None:
    """The nodes of those names; None where there are none.

    Args:
        shapes: of tensors, for the declarations of inputs and outputs; those not in it are declared without.
    """
    wanted = set(names)
    inside = {id(node) for node in graph.nodes if node.name in wanted}
    if not inside:
        return None
    for node in reversed(graph.nodes):
        if _is_computed(node) and any(id(reader) in inside for tensor in node.outputs for reader in tensor.outputs):
            inside.add(id(node))
    piece = gs.Graph(
        nodes=[node for node in graph.nodes if id(node) in inside],
        opset=graph.opset,
        import_domains=graph.import_domains,
        functions=graph.functions,
        ir_version=graph.ir_version,
    )
    proto = gs.export_onnx(piece, do_type_check=False)
    del proto.graph.value_info[:]
    proto.graph.input.extend(_declared(tensor, shapes) for tensor in _read(piece, inside))
    ends = {id(tensor) for tensor in graph.outputs}
    proto.graph.output.extend(_declared(tensor, shapes) for tensor in _left(piece, inside, ends))
    return proto


def _is_computed(node: gs.Node) -> bool:
    """From constants alone, directly or through others such."""
    return bool(node.inputs) and all(
        isinstance(tensor, gs.Constant) or (tensor.inputs and _is_computed(tensor.inputs[0])) for tensor in node.inputs
    )


def _read(piece: gs.Graph, inside: set[int]) -> list[gs.Tensor]:
    found: dict[str, gs.Tensor] = {}
    for node in piece.nodes:
        for tensor in node.inputs:
            made_here = tensor.inputs and id(tensor.inputs[0]) in inside
            if isinstance(tensor, gs.Variable) and not tensor.is_empty() and not made_here:
                found[tensor.name] = tensor
    return list(found.values())


def _left(piece: gs.Graph, inside: set[int], ends: set[int]) -> list[gs.Tensor]:
    made = [tensor for node in piece.nodes for tensor in node.outputs if not tensor.is_empty()]
    return [
        tensor for tensor in made if id(tensor) in ends or any(id(reader) not in inside for reader in tensor.outputs)
    ]


def _declared(tensor: gs.Tensor, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ValueInfoProto:
    """Axis 0 stays open: the batch."""
    dtype = tensor.dtype if isinstance(tensor.dtype, np.dtype) else np.dtype(np.float32)
    known = shapes.get(tensor.name)
    dims = ["N", *known[1:]] if known else None
    return helper.make_tensor_value_info(tensor.name, helper.np_dtype_to_tensor_dtype(dtype), dims)
