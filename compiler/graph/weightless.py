"""Models without the bytes of their weights: names, types and shapes stay. Nothing is copied, however big the model.

1. `export_weightless`: a weight that is left out is a stub, an external tensor (`data_location`) without a location.
   What only reads names, types and shapes takes it for any other; `protobuf_writer` puts the values where they belong.
2. `export_for_inference` of a graph and `weightless_copy` of a ModelProto, for checker and shape inference: a tensor of
   more than `MAX_ELEMENTS` elements is an input of its type and shape (`as_input`), one of a subgraph an input of the
   whole.

A graph holds stubs instead of its values while it is exported, and only then.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import dtype_to_onnx
from onnx_graphsurgeon.ir.tensor import LazyValues

from .external import EXTERNAL
from .inference import as_input
from .normalize import ONNX_DOMAINS, graphs
from .protobuf_writer import Weights, size, stored_bytes
from .weights import SCALARS, stored_tensors

MIN_BYTES = 1024
MAX_ELEMENTS = 1024
MIN_IR = 4  # before this IR version an initializer that is not listed as an input has no shape


def export_weightless(graph: gs.Graph, min_bytes: int = MIN_BYTES) -> tuple[onnx.ModelProto, Weights]:
    """The graph without the values of its weights of so many bytes or more, and these by name."""
    weights = {
        name: tensor
        for name, tensor in stored_tensors(graph).items()
        if _is_plain(tensor) and stored_bytes(tensor) >= min_bytes
    }
    with weights_left_out(weights.values()):
        return gs.export_onnx(graph, do_type_check=False), weights


def graph_bytes(graph: gs.Graph) -> int:
    """The size of the graph's file."""
    proto, weights = export_weightless(graph)
    share_initializers(proto.graph, ambiguous_names(graph))
    return size(proto, weights)


def ambiguous_names(graph: gs.Graph) -> set[str]:
    """Names that subgraphs give to constants of their own, and others, too."""
    named: dict[str, int] = {}
    return {
        name
        for part in (graph, *graph.subgraphs(recursive=True))
        for name, tensor in stored_tensors(part).items()
        if named.setdefault(name, id(tensor)) != id(tensor)
    }


def share_initializers(graph: onnx.GraphProto, local: Collection[str]) -> None:
    """The export repeats an outer initializer in every subgraph that reads it; keep one, outside."""
    outer = {tensor.name for tensor in graph.initializer}
    for part in list(graphs(graph))[1:]:
        own = [tensor for tensor in part.initializer if tensor.name in local]
        for tensor in part.initializer:
            if tensor.name not in local and tensor.name not in outer:
                outer.add(tensor.name)
                graph.initializer.append(tensor)
        del part.initializer[:]
        part.initializer.extend(own)


def export_for_inference(graph: gs.Graph) -> onnx.ModelProto:
    """The graph with its big constants as inputs; Constant nodes are initializers."""
    with weights_left_out(_big_constants(graph)):
        proto = gs.export_onnx(graph, do_type_check=False)
    proto.ir_version = max(proto.ir_version, MIN_IR)
    proto.ClearField("producer_name")  # copies of a graph have lost it, and are to give the same
    proto.ClearField("producer_version")
    _constants_to_initializers(proto.graph)
    inputs = {info.name for info in proto.graph.input}
    _set_initializers(proto.graph, [tensor for tensor in proto.graph.initializer if tensor.name not in inputs])
    _stubs_to_inputs(proto.graph)
    return proto


def weightless_copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the big tensors of `proto`, in memory or in a file, as inputs; its IR version is at least `MIN_IR`.

    Declared shapes count for the model's inputs and for the outputs of custom operators only: others may be stale, and
    are left out.
    """
    copy = onnx.ModelProto(ir_version=max(proto.ir_version, MIN_IR))
    copy.opset_import.extend(proto.opset_import)
    copy.functions.extend(proto.functions)
    copy.graph.name = proto.graph.name or "graph"
    _copy_graph(proto.graph, copy.graph)
    _stubs_to_inputs(copy.graph)
    return copy


@contextmanager
def weights_left_out(constants: Iterable[gs.Constant]) -> Generator[None, None, None]:
    """Inside, these have stubs for values."""
    held = [(tensor, vars(tensor)["_values"]) for tensor in constants]  # `tensor.values` would load what lies in a file
    try:
        for tensor, _ in held:
            stub = _stub(tensor.name, dtype_to_onnx(tensor.export_dtype), tensor.shape)
            tensor.values = LazyValues(stub)  # pyright: ignore[reportAttributeAccessIssue]
        yield
    finally:
        for tensor, values in held:
            tensor.values = values


def _stub(name: str, kind: int, dims: Iterable[int]) -> onnx.TensorProto:
    return onnx.TensorProto(name=name, data_type=kind, dims=dims, data_location=EXTERNAL)


def _is_plain(tensor: gs.Constant) -> bool:
    """Whether its values lie in memory as they do in a file."""
    dtype = tensor.dtype
    return isinstance(dtype, np.dtype) and dtype.kind in "fiub" and tensor.export_dtype == dtype


def _big_constants(graph: gs.Graph) -> Iterator[gs.Constant]:
    outputs = {tensor.name for tensor in graph.outputs}
    constants = (node for node in graph.nodes if node.op == "Constant" and not node.domain)
    named = (node for node in constants if node.outputs and node.outputs[0].name not in outputs)
    for tensor in (*stored_tensors(graph).values(), *(node.attrs.get("value") for node in named)):
        if isinstance(tensor, gs.Constant) and prod(tensor.shape) > MAX_ELEMENTS:
            yield tensor


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Constant nodes become initializers, but for those that are outputs or hold text."""
    outputs = {info.name for info in graph.output}
    others: list[onnx.NodeProto] = []
    for node in graph.node:
        constant = node.op_type == "Constant" and not node.domain and outputs.isdisjoint(node.output)
        tensor = _constant_value(node) if constant and node.output else None
        if tensor is None:
            others.append(node)
            continue
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = node.output[0]
    if len(others) < len(graph.node):
        del graph.node[:]
        graph.node.extend(others)


def _constant_value(node: onnx.NodeProto) -> onnx.TensorProto | None:
    for entry in node.attribute:
        if entry.name == "value" and entry.HasField("t"):
            return entry.t
        if entry.name in SCALARS:
            return onnx.numpy_helper.from_array(np.asarray(onnx.helper.get_attribute_value(entry), SCALARS[entry.name]))
    return None


def _copy_graph(graph: onnx.GraphProto, copy: onnx.GraphProto) -> None:
    """Fill `copy` with what is small in `graph`, and stubs of the rest."""
    copy.input.extend(graph.input)
    copy.output.extend(graph.output)
    custom = {name for node in graph.node if node.domain not in ONNX_DOMAINS for name in node.output}
    for info in copy.output:
        if info.name not in custom:
            info.type.tensor_type.ClearField("shape")
    copy.value_info.extend(info for info in graph.value_info if info.name in custom)
    for tensor in graph.initializer:
        copy.initializer.append(_stub(tensor.name, tensor.data_type, tensor.dims) if _is_big(tensor) else tensor)
    for node in graph.node:
        value = node.attribute[0].t if node.op_type == "Constant" and len(node.attribute) == 1 else None
        if value is not None and value.dims and _is_big(value) and node.output:
            copy.initializer.append(_stub(node.output[0], value.data_type, value.dims))
        else:
            _copy_node(node, copy)


def _is_big(tensor: onnx.TensorProto) -> bool:
    return prod(tensor.dims) > MAX_ELEMENTS or tensor.data_location == EXTERNAL


def _copy_node(node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
    if not any(attribute.HasField("g") for attribute in node.attribute):
        graph.node.append(node)
        return
    copy = graph.node.add(op_type=node.op_type, domain=node.domain, input=node.input, output=node.output)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            part = copy.attribute.add(name=attribute.name, type=attribute.type)
            part.g.name = attribute.g.name or "body"
            _copy_graph(attribute.g, part.g)
        else:
            copy.attribute.append(attribute)


def _stubs_to_inputs(graph: onnx.GraphProto) -> None:
    """Inputs of the whole in the place of the initializers, those of subgraphs too, that are stubs."""
    inputs: dict[str, onnx.ValueInfoProto] = {}
    for part in graphs(graph):
        stubs = [tensor for tensor in part.initializer if tensor.data_location == EXTERNAL]
        inputs.update({tensor.name: as_input(tensor.name, tensor) for tensor in stubs})
        if stubs:
            _set_initializers(part, [tensor for tensor in part.initializer if tensor.data_location != EXTERNAL])
    declared = {info.name for info in graph.input}
    graph.input.extend(info for name, info in inputs.items() if name not in declared)


def _set_initializers(graph: onnx.GraphProto, tensors: Sequence[onnx.TensorProto]) -> None:
    del graph.initializer[:]
    graph.initializer.extend(tensors)
