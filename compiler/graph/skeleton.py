"""Graphs without their big weights: checks and shape inference work on them, however big the model."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .external import EXTERNAL
from .inference import as_input
from .outline import left_out
from .weights import SCALARS

SMALL = 1024
OLDEST = 4  # before this IR version an initializer that is not listed as an input has no shape


def skeleton(graph: gs.Graph) -> onnx.ModelProto:
    """The graph in which every constant of more than `SMALL` elements is an input (`as_input`).

    Constant nodes are initializers.
    """
    with left_out(_big(graph)):
        proto = gs.export_onnx(graph, do_type_check=False)
    proto.ir_version = max(proto.ir_version, OLDEST)
    proto.ClearField("producer_name")  # copies of a graph have lost it, and are to give the same
    proto.ClearField("producer_version")
    _lower(proto.graph)
    _ask(proto.graph)
    return proto


def _big(graph: gs.Graph) -> Iterator[gs.Constant]:
    outputs = {tensor.name for tensor in graph.outputs}
    constants = (node for node in graph.nodes if node.op == "Constant" and not node.domain)
    named = (node for node in constants if node.outputs and node.outputs[0].name not in outputs)
    for tensor in (*graph.tensors().values(), *(node.attrs.get("value") for node in named)):
        if isinstance(tensor, gs.Constant) and prod(tensor.shape) > SMALL:
            yield tensor


def _lower(graph: onnx.GraphProto) -> None:
    """Constant nodes become initializers, but for those that are outputs or hold text."""
    outputs = {info.name for info in graph.output}
    others: list[onnx.NodeProto] = []
    for node in graph.node:
        constant = node.op_type == "Constant" and not node.domain and outputs.isdisjoint(node.output)
        tensor = _stored(node) if constant and node.output else None
        if tensor is None:
            others.append(node)
            continue
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = node.output[0]
    if len(others) < len(graph.node):
        del graph.node[:]
        graph.node.extend(others)


def _stored(node: onnx.NodeProto) -> onnx.TensorProto | None:
    for entry in node.attribute:
        if entry.name == "value" and entry.HasField("t"):
            return entry.t
        if entry.name in SCALARS:
            return onnx.numpy_helper.from_array(np.asarray(onnx.helper.get_attribute_value(entry), SCALARS[entry.name]))
    return None


def _ask(graph: onnx.GraphProto) -> None:
    """Inputs in the place of the initializers that are left out, or are no more than the default of an input."""
    declared = {info.name for info in graph.input}
    kept: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        if tensor.name in declared:
            continue
        if tensor.data_location != EXTERNAL:
            kept.append(tensor)
        else:
            graph.input.append(as_input(tensor.name, tensor))
    del graph.initializer[:]
    graph.initializer.extend(kept)
