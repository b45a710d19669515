"""Types and shapes of the tensors of a ModelProto, inferred on a copy without the big weights.

The copy has the nodes of the model, subgraphs included, and its small tensors. A bigger one, in memory or in a file, is
an input of its type and shape; one of a subgraph becomes an input of the whole. Declared shapes count for the model's
inputs and for the outputs of custom operators only: others may be stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import onnx

from ..graph.inference import as_input, inferred
from ..graph.normalize import DEFAULT_DOMAIN, graphs

SMALL = 1024
OWN = ("", DEFAULT_DOMAIN)
Infos = dict[str, onnx.TypeProto.Tensor]


def infer(proto: onnx.ModelProto) -> list[Infos]:
    """Tensor name -> type and shape, for each graph in the order of `graphs`."""
    light = inferred(light_copy(proto))
    return [_infos(part) for part in graphs(light.graph)]


def light_copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The copy that the module docstring describes. Its IR version is at least 4, so that shapes count."""
    light = onnx.ModelProto(ir_version=max(proto.ir_version, 4))
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    light.graph.name = proto.graph.name or "graph"
    heavy = list(_fill(light.graph, proto.graph))
    known = {info.name for info in light.graph.input}
    light.graph.input.extend(info for info in heavy if info.name not in known)
    return light


def is_small(tensor: onnx.TensorProto) -> bool:
    return prod(tensor.dims) <= SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL


def _fill(light: onnx.GraphProto, graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    """Fill `light` with what is small in `graph`; the rest comes back as declarations."""
    light.input.extend(graph.input)
    light.output.extend(graph.output)
    custom = {name for node in graph.node if node.domain not in OWN for name in node.output}
    for info in light.output:
        if info.name not in custom:
            info.type.tensor_type.ClearField("shape")
    light.value_info.extend(info for info in graph.value_info if info.name in custom)
    for tensor in graph.initializer:
        if is_small(tensor):
            light.initializer.append(tensor)
        else:
            yield as_input(tensor.name, tensor)
    for node in graph.node:
        stored = node.attribute[0].t if node.op_type == "Constant" and len(node.attribute) == 1 else None
        if stored is not None and stored.dims and not is_small(stored) and node.output:
            yield as_input(node.output[0], stored)
        else:
            yield from _add_node(light, node)


def _add_node(light: onnx.GraphProto, node: onnx.NodeProto) -> Iterator[onnx.ValueInfoProto]:
    if not any(attribute.HasField("g") for attribute in node.attribute):
        light.node.append(node)
        return
    copy = light.node.add(op_type=node.op_type, domain=node.domain, input=node.input, output=node.output)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            part = copy.attribute.add(name=attribute.name, type=attribute.type)
            part.g.name = attribute.g.name or "body"
            yield from _fill(part.g, attribute.g)
        else:
            copy.attribute.append(attribute)


def _infos(graph: onnx.GraphProto) -> Infos:
    infos = {
        info.name: info.type.tensor_type
        for info in [*graph.output, *graph.value_info, *graph.input]
        if info.type.HasField("tensor_type")
    }
    for tensor in graph.initializer:
        infos[tensor.name] = as_input(tensor.name, tensor).type.tensor_type
    return infos
