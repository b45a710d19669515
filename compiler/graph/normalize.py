"""What a ModelProto must look like before onnx-graphsurgeon reads it.

1. Local functions are inlined, except those of the project's own operators; the default domain is called "".
2. Every node, in subgraphs too, has a name of its own; reports and provenance go by it.
3. Sparse constants are made dense.
4. What the IR cannot hold is set aside in `stubs` and comes back on export: documentation and metadata of nodes,
   attributes without elements, of bytes that are not text, and of unusual types. A list of subgraphs is refused.
5. Types other than tensors are taken off declarations (the envelope keeps those of the model's inputs and outputs).
6. `pads` beside an `auto_pad` that overrides them go: onnxruntime refuses both together, TensorRT some. An `auto_pad`
   that is empty says nothing, and goes.
7. Names are text. Every stored tensor has the size that its type and shape call for, and every attribute the data that
   its type does; weights are finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx
from onnx import AttributeProto, inliner, numpy_helper

from ..errors import CompressError
from .attributes import PADDED
from .expansion import check_functions
from .external import EXTERNAL, Arrays, graph_tensors
from .storage.operators import DOMAIN

DEFAULT_DOMAIN = "ai.onnx"
ONNX_DOMAINS = ("", DEFAULT_DOMAIN)
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"})
FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE})
DENSE = 2**28
"""Bytes of a tensor that is stored sparse."""
OVERRIDING = (b"SAME_UPPER", b"SAME_LOWER", b"VALID")
ATTRIBUTE_FIELDS = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSORS: "tensors",
    AttributeProto.GRAPHS: "graphs",
}
IR_TYPES = frozenset(
    {
        AttributeProto.FLOAT,
        AttributeProto.INT,
        AttributeProto.STRING,
        AttributeProto.TENSOR,
        AttributeProto.GRAPH,
        AttributeProto.FLOATS,
        AttributeProto.INTS,
        AttributeProto.STRINGS,
    }
)


def inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the bodies of its local functions, but for those of our domain, in the place of their calls."""
    domains = {function.domain for function in proto.functions} - {DOMAIN}
    if not domains:
        return proto
    check_functions(proto)
    own = [(function.domain, function.name) for function in proto.functions if function.domain == DOMAIN]
    try:
        inlined = inliner.inline_selected_functions(proto, own, exclude=True)
    except Exception as error:
        raise CompressError(
            f"cannot inline the local functions: {error}", "model", "export the network without functions"
        ) from error
    used = {node.domain for graph in graphs(inlined.graph) for node in graph.node}
    kept = [entry for entry in inlined.opset_import if entry.domain in used or entry.domain not in domains]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    return inlined


def normalize(proto: onnx.ModelProto, arrays: Arrays) -> list[onnx.NodeProto]:
    """Bring `proto` into the shape of the module docstring, in place; what was set aside, by node name.

    Args:
        arrays: the weights that it leaves out.
    """
    for entry in proto.opset_import:
        if entry.domain == DEFAULT_DOMAIN:
            entry.domain = ""
    check_names(proto.graph)
    check_sizes(proto.graph)
    check_attributes(proto.graph)
    seen: set[str] = set()
    stubs: list[onnx.NodeProto] = []
    for graph in graphs(proto.graph):
        _make_dense(graph)
        _clear_types(graph)
        for index, node in enumerate(graph.node):
            if node.domain == DEFAULT_DOMAIN:
                node.ClearField("domain")
            if node.op_type in PADDED and not node.domain:
                _drop_idle_pads(node)
            node.name = _unique(node.name or f"{node.op_type}_{index}", seen)
            stubs.append(_set_aside(node))
    check_finite(proto.graph, arrays)
    return [stub for stub in stubs if len(stub.ListFields()) > 1]


def _drop_idle_pads(node: onnx.NodeProto) -> None:
    found = {attribute.name: attribute for attribute in node.attribute}
    mode = found["auto_pad"].s if "auto_pad" in found else None
    if "pads" in found and mode in OVERRIDING:
        node.attribute.remove(found["pads"])
    if mode == b"":
        node.attribute.remove(found["auto_pad"])


def restore(proto: onnx.ModelProto, stubs: dict[str, onnx.NodeProto]) -> None:
    """Give the nodes of an exported model back what `normalize` set aside."""
    for graph in graphs(proto.graph):
        for node in graph.node:
            if node.name in stubs:
                node.MergeFrom(stubs[node.name])


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and every subgraph below it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def check_names(graph: onnx.GraphProto) -> None:
    """Refuse inputs without a name, and names that are not UTF-8: protobuf gives them as bytes."""
    if not all(info.name for info in graph.input):
        raise CompressError("an input has no name", "model", "copy it or export it again")
    for part in graphs(graph):
        names: list[str | bytes] = [entry.name for entry in (*part.input, *part.output, *part.initializer)]
        for node in part.node:
            names += [node.name, node.op_type, node.domain, *node.input, *node.output]
            names += [attribute.name for attribute in node.attribute]
        for name in names:
            if isinstance(name, bytes):
                raise CompressError(f"the name {name!r} is not text", "model", "copy it or export it again")


def check_sizes(graph: onnx.GraphProto) -> None:
    """Refuse tensors whose data do not fill their shape."""
    for tensor in graph_tensors(graph):
        if tensor.data_location == EXTERNAL:
            continue
        try:
            fits = min(tensor.dims, default=0) >= 0 and numpy_helper.to_array(tensor).size == prod(tensor.dims)
        except Exception:
            fits = False
        if not fits:
            kind, sizes = onnx.TensorProto.DataType.keys(), " x ".join(map(str, tensor.dims)) or "a scalar"
            name = kind[tensor.data_type] if 0 <= tensor.data_type < len(kind) else f"type {tensor.data_type}"
            raise CompressError(
                f"its data are not {sizes} of {name}", f"tensor '{tensor.name}'", "copy the model or export it again"
            )


def check_attributes(graph: onnx.GraphProto) -> None:
    """Refuse attributes with data of another type than theirs, and tensors and graphs that are not there."""
    for node in (node for part in graphs(graph) for node in part.node):
        for attribute in node.attribute:
            own = ATTRIBUTE_FIELDS.get(attribute.type)
            found = {field.name for field, _ in attribute.ListFields()} & set(ATTRIBUTE_FIELDS.values())
            if own is not None and (found - {own} or (own in ("t", "g") and not found)):
                kind = AttributeProto.AttributeType.Name(attribute.type)
                raise CompressError(
                    f"its attribute '{attribute.name}' is of type {kind}, its data are not",
                    f"node '{node.name or node.op_type}'",
                    "copy the model or export it again",
                )


def check_finite(graph: onnx.GraphProto, arrays: Arrays) -> None:
    """Refuse NaN and Inf in the weights of `WEIGHTED` nodes; elsewhere (a mask, a bound) they can be meant."""
    for part in graphs(graph):
        tensors = {tensor.name: tensor for tensor in part.initializer}
        constants = (node for node in part.node if node.op_type == "Constant" and node.output)
        tensors.update({node.output[0]: a.t for node in constants for a in node.attribute if a.name == "value"})
        for node in part.node:
            for name in node.input if node.op_type in WEIGHTED else ():
                tensor = tensors.get(name)
                if tensor is not None and tensor.data_type in FLOATS and not _finite(tensor, arrays):
                    raise CompressError(
                        f"the weight '{name}' holds NaN or Inf", f"node '{node.name}'", "train or export again"
                    )


def _finite(tensor: onnx.TensorProto, arrays: Arrays) -> bool:
    values = arrays[tensor.name] if tensor.data_location == EXTERNAL else numpy_helper.to_array(tensor)
    with np.errstate(all="ignore"):
        quick = np.isfinite(values.sum(dtype=np.float64))
    return bool(quick or np.isfinite(values).all())


def _unique(base: str, seen: set[str]) -> str:
    name, count = base, 0
    while name in seen:
        count += 1
        name = f"{base}_{count}"
    seen.add(name)
    return name


def _set_aside(node: onnx.NodeProto) -> onnx.NodeProto:
    stub = onnx.NodeProto(name=node.name)
    if node.doc_string:
        stub.doc_string = node.doc_string
    if "metadata_props" in node.DESCRIPTOR.fields_by_name:
        stub.metadata_props.extend(node.metadata_props)
    for attribute in list(node.attribute):
        if attribute.type == AttributeProto.GRAPHS:
            raise CompressError(
                f"attribute '{attribute.name}' is a list of graphs", f"node '{node.name}'", "not supported"
            )
        if not _fits_ir(attribute):
            stub.attribute.append(attribute)
            node.attribute.remove(attribute)
    return stub


def _fits_ir(attribute: AttributeProto) -> bool:
    if attribute.type not in IR_TYPES or attribute.ref_attr_name:
        return False
    if attribute.type in (AttributeProto.STRING, AttributeProto.STRINGS):
        texts = [attribute.s] if attribute.type == AttributeProto.STRING else list(attribute.strings)
        return bool(texts) and all(_is_text(text) for text in texts)
    if attribute.type in (AttributeProto.FLOATS, AttributeProto.INTS):
        return bool(attribute.floats or attribute.ints)
    return True


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _clear_types(graph: onnx.GraphProto) -> None:
    for info in [*graph.value_info, *graph.input, *graph.output]:
        if not info.type.HasField("tensor_type"):
            info.ClearField("type")


def _make_dense(graph: onnx.GraphProto) -> None:
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse, sparse.values.name))
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "sparse_value":
                attribute.CopyFrom(onnx.helper.make_attribute("value", _dense(attribute.sparse_tensor, "")))


def _dense(sparse: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    if prod(sparse.dims) * values.itemsize > DENSE:
        sizes = " x ".join(map(str, sparse.dims))
        raise CompressError(f"{sizes} are too many for a sparse tensor", f"tensor '{name}'", "store it in full")
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    axes = [indices[:, axis] for axis in range(indices.shape[1])] if indices.ndim == 2 else []
    places = np.ravel_multi_index(axes, dense.shape) if axes else indices
    dense.reshape(-1)[places] = values
    return numpy_helper.from_array(dense, name)
