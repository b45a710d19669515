"""A network and its losses as a training program (`runtime.training.engine.Program`).

The parameters become inputs, the batch size is fixed, the losses are appended, and whatever they do not need is left
out. Nodes of local functions become what their bodies say. An INT8 weight becomes a float parameter that a
QuantizeLinear rounds: engines differentiate it straight through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper
from onnx.inliner import inline_local_functions

from ...runtime.training.engine import Program
from .losses import nodes
from .parameters import TrainableParameter

LOSS = "training/loss"
FLOAT = "training/{}"
Shapes = Mapping[str, tuple[int, ...]]
NONE: Mapping[str, str] = MappingProxyType({})


def build(
    graph: gs.Graph,
    parameters: Sequence[TrainableParameter],
    losses: str,
    batch: Shapes,
    extra: Shapes,
    taken: Mapping[str, str] = NONE,
) -> Program:
    """The program that computes `LOSS`; parameters that it does not depend on are left out.

    Args:
        graph: the network; it stays as it is.
        losses: text of `losses`, over tensors of the graph, `extra` and parameters (by `trained_name`).
        batch: the shapes of the graph's inputs for one batch.
        extra: more inputs, float32: what the original says, labels.
        taken: tensors of the graph that its nodes read from such an input instead.
    """
    model = inline_local_functions(gs.export_onnx(graph, do_type_check=False))
    body = model.graph
    del body.value_info[:]
    for node in body.node:
        node.input[:] = [taken.get(name, name) for name in node.input]
    body.node.extend(nodes(losses))
    _take_out(body, parameters)
    del body.output[:]
    body.output.append(helper.make_tensor_value_info(LOSS, TensorProto.FLOAT, []))
    kinds = {value.name: value.type.tensor_type.elem_type for value in body.input}
    del body.input[:]
    body.input.extend(helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in batch.items())
    body.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in extra.items())
    values = {trained_name(parameter): parameter.values for parameter in parameters}
    body.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in values.items()
    )
    _prune(body)
    needed = {value.name for value in body.input}
    return Program(model, {name: array for name, array in values.items() if name in needed})


def trained_name(parameter: TrainableParameter) -> str:
    """The program's input for a parameter."""
    return parameter.name if parameter.scale is None else FLOAT.format(parameter.name)


def _take_out(body: onnx.GraphProto, parameters: Sequence[TrainableParameter]) -> None:
    """The parameters are constants no longer; INT8 ones are computed from their float values."""
    names = {parameter.name for parameter in parameters}
    kept = [constant for constant in body.initializer if constant.name not in names]
    del body.initializer[:]
    body.initializer.extend(kept)
    readers = {node.input[0]: node for node in body.node if node.op_type == "DequantizeLinear"}
    rounders: list[onnx.NodeProto] = []
    for parameter in parameters:
        if parameter.scale is not None:
            reader = readers[parameter.name]
            inputs = [trained_name(parameter), *reader.input[1:]]
            rounder = helper.make_node("QuantizeLinear", inputs, [parameter.name])
            rounder.attribute.extend(reader.attribute)
            rounders.append(rounder)
    _put_first(body, rounders)


def _put_first(body: onnx.GraphProto, first: Iterable[onnx.NodeProto]) -> None:
    every = [*first, *body.node]
    del body.node[:]
    body.node.extend(every)


def _prune(body: onnx.GraphProto) -> None:
    """Drop what the loss does not need."""
    needed = {LOSS}
    kept: list[onnx.NodeProto] = []
    for node in reversed(body.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_reads(node))
    del body.node[:]
    body.node.extend(reversed(kept))
    constants = [constant for constant in body.initializer if constant.name in needed]
    del body.initializer[:]
    body.initializer.extend(constants)
    inputs = [value for value in body.input if value.name in needed]
    del body.input[:]
    body.input.extend(inputs)


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    """The tensors that a node and its subgraphs read."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from _reads(inner)
