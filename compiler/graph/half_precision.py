"""Networks in half precision: their FLOAT16 tensors become FLOAT, while inputs and outputs stay what they are.

    x (half) -> Cast -> all between in float32 -> Cast -> y (half)

Every operator of ONNX that takes half takes float32, too; attributes that name a type, and the constants, change with
the tensors, and Casts that are left with nothing to do go. Other operators read and write half still, between Casts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .functions import tensor_types
from .rewriter import Rewriter
from .weights import resolve

FLOAT, HALF = int(onnx.TensorProto.FLOAT), int(onnx.TensorProto.FLOAT16)
DTYPES: Mapping[Any, int] = {np.dtype(np.float32): FLOAT, np.dtype(np.float16): HALF}
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype")
CONTAINERS = frozenset(("SplitToSequence", "SequenceConstruct", "SequenceEmpty", "SequenceMap", "Optional"))
"""Operators that make values of other types than tensors."""


def is_half(node: gs.Node) -> bool:
    """Whether the node multiplies by a weight in half precision."""
    weight = resolve(node.inputs[1])
    return weight is not None and weight.dtype == np.float16


def obstacle(graph: gs.Graph) -> str | None:
    """Why the tensors of `graph` cannot all be changed, or None."""
    kinds = _kinds(graph)
    for node in _nodes(graph):
        if node.op in CONTAINERS and not node.domain:
            return f"{node.op} '{node.name}' makes a sequence"
        if _is_foreign(node) and any(tensor.name not in kinds for tensor in node.outputs if not tensor.is_empty()):
            return f"nothing says of which type the outputs of {node.op} '{node.name}' are"
    return None


def to_single_precision(rewriter: Rewriter) -> None:
    """Change the graph of `rewriter` and its subgraphs as the module docstring says; `obstacle` must be None."""
    graph, kinds = rewriter.graph, _kinds(rewriter.graph)
    outside = {tensor.name for tensor in (*graph.inputs, *graph.outputs)}
    half = {name for name, kind in kinds.items() if kind == HALF}
    for part in rewriter.parts():
        _change_types(part, half - outside)
    for part in rewriter.parts():
        for node in list(part.graph.nodes):
            if _is_foreign(node):
                _cast_around(part, node, half)
    single = {name for name, kind in kinds.items() if kind in (FLOAT, HALF)} - (half & outside)
    single.update(_cast_outputs(rewriter, half))
    single.update(_cast_inputs(rewriter, half))
    for part in rewriter.parts():
        for node in list(part.graph.nodes):
            if _casts(node, single) and part.can_bypass(node):
                part.bypass(node)


def _kinds(graph: gs.Graph) -> dict[str, int]:
    """Tensor name -> type of its elements, as far as it is known."""
    kinds = {name: int(kind.tensor_type.elem_type) for name, kind in tensor_types(graph).items()}
    for tensor in (tensor for node in _nodes(graph) for tensor in (*node.inputs, *node.outputs)):
        if tensor.dtype in DTYPES:
            kinds.setdefault(tensor.name, DTYPES[tensor.dtype])
    return kinds


def _nodes(graph: gs.Graph) -> Iterator[gs.Node]:
    for part in (graph, *graph.subgraphs(recursive=True)):
        yield from part.nodes


def _is_foreign(node: gs.Node) -> bool:
    return node.domain not in (None, "", "ai.onnx") or not onnx.defs.has(node.op)


def _casts(node: gs.Node, single: Set[str]) -> bool:
    """The node makes FLOAT of FLOAT."""
    return node.op == "Cast" and node.attrs.get("to") == FLOAT and node.inputs[0].name in single


def _change_types(rewriter: Rewriter, half: Set[str]) -> None:
    for tensor in rewriter.graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            if tensor.dtype == np.float16:
                rewriter.set_values(tensor, tensor.values.astype(np.float32))
                tensor.export_dtype = None  # copies of a graph have it set
        elif isinstance(tensor, gs.Variable) and tensor.name in half:
            tensor.dtype = np.dtype(np.float32)
    for node in rewriter.graph.nodes:
        _change_attributes(node)


def _change_attributes(node: gs.Node) -> None:
    for key in TYPE_ATTRIBUTES:
        if node.attrs.get(key) == HALF and not _is_foreign(node):
            node.attrs[key] = FLOAT
    value = node.attrs.get("value")
    if isinstance(value, gs.Constant) and value.dtype == np.float16:
        node.attrs["value"] = gs.Constant(value.name, value.values.astype(np.float32))


def _cast_around(rewriter: Rewriter, node: gs.Node, half: Set[str]) -> None:
    """Let a foreign node read and write half where it did."""
    for index, tensor in enumerate(node.inputs):
        if tensor.name in half:
            given = rewriter.variable(f"{tensor.name}.half", np.float16)
            rewriter.insert_before(node, [_cast(rewriter, tensor, given, HALF)])
            rewriter.set_input(node, index, given)
    for index, tensor in enumerate(list(node.outputs)):
        if tensor.name in half:
            made = node.outputs[index] = rewriter.variable(f"{tensor.name}.half", np.float16)
            rewriter.insert_after(node, [_cast(rewriter, made, tensor, FLOAT)])


def _cast_inputs(rewriter: Rewriter, half: Set[str]) -> Iterator[str]:
    """Names of the tensors that stand for the inputs."""
    for tensor in rewriter.graph.inputs:
        if tensor.name in half and tensor.outputs:
            single = _stand_in(rewriter, tensor)
            rewriter.insert_before(rewriter.graph.nodes[0], [_cast(rewriter, tensor, single, FLOAT)])
            yield single.name


def _cast_outputs(rewriter: Rewriter, half: Set[str]) -> Iterator[str]:
    """Names of the tensors that stand for the outputs."""
    for tensor in rewriter.graph.outputs:
        if tensor.name in half and tensor.inputs:
            single, producer = _stand_in(rewriter, tensor), tensor.inputs[0]
            producer.outputs = [single if each is tensor else each for each in producer.outputs]
            rewriter.insert_after(producer, [_cast(rewriter, single, tensor, HALF)])
            yield single.name


def _stand_in(rewriter: Rewriter, tensor: gs.Tensor) -> gs.Variable:
    """A tensor in float32, which all that read `tensor` read now."""
    single = rewriter.variable(f"{tensor.name}.single", np.float32)
    for node in list(tensor.outputs):
        node.inputs = [single if each is tensor else each for each in node.inputs]
    return single


def _cast(rewriter: Rewriter, source: gs.Tensor, result: gs.Tensor, kind: int) -> gs.Node:
    return rewriter.node("Cast", [source], [result], f"{source.name}.Cast", {"to": kind})
