"""Expands operators that ONNX defines by other operators (HardSwish, LayerNormalization, Mish, ...).

The body comes from the operator's schema, by `onnx.inliner`. Bodies that depend on types and shapes of the inputs are
written for those that shape inference finds. Bodies may hold such operators again; they are expanded in turn.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_graphsurgeon as gs
from onnx import defs, inliner

from .inference import inferred
from .normalize import graphs
from .rewriter import Rewriter
from .weightless import export_for_inference

Types = dict[str, onnx.TypeProto]


def expand_functions(rewriter: Rewriter, wanted: Callable[[gs.Node], bool]) -> list[str]:
    """Expand every node, those of subgraphs too, that `wanted` picks; the names of the nodes that are gone.

    A node without a body, or whose input types are not known, stays.
    """
    expanded: list[str] = []
    stuck: set[int] = set()
    while True:
        found = [(part, node) for part in rewriter.parts() for node in part.graph.nodes if wanted(node)]
        found = [(part, node) for part, node in found if id(node) not in stuck and has_body(node, rewriter.graph.opset)]
        if not found:
            return expanded
        types = tensor_types(rewriter.graph)
        for part, node in found:
            if _expand(part, node, types, rewriter.graph.opset):
                expanded.append(node.name)
            else:
                stuck.add(id(node))


def has_body(node: gs.Node, opset: int) -> bool:
    """Whether the schema of the node's operator holds a definition by others."""
    if node.domain or not defs.has(node.op):
        return False
    schema = defs.get_schema(node.op, max_inclusive_version=opset)
    return bool(schema.has_function or schema.has_context_dependent_function)  # pyright: ignore  # not in onnx's stubs


def tensor_types(graph: gs.Graph) -> Types:
    """Tensor name -> type, as far as ONNX's inference knows it, subgraphs included."""
    proto = inferred(export_for_inference(graph))
    infos = [info for part in graphs(proto.graph) for info in [*part.value_info, *part.input, *part.output]]
    return {info.name: info.type for info in infos if info.type.HasField("tensor_type")}


def _expand(rewriter: Rewriter, node: gs.Node, types: Types, opset: int) -> bool:
    body = _body(node, types, opset)
    if any(inner.op == node.op for inner in body.nodes):
        return False
    placed: dict[str, gs.Tensor] = {tensor.name: tensor for tensor in [*node.inputs, *node.outputs]}
    nodes = list(body.nodes)
    rewriter.splice(node, nodes)
    for inner in nodes:
        inner.name = rewriter.fresh_name(f"{node.name}.{inner.op}")
        rewriter.origins[inner.name] = rewriter.origins.get(node.name, node.name)
        inner.inputs = [_place(rewriter, node.name, tensor, placed) for tensor in list(inner.inputs)]
        inner.outputs = [_place(rewriter, node.name, tensor, placed) for tensor in list(inner.outputs)]
    return True


def _place(rewriter: Rewriter, prefix: str, tensor: gs.Tensor, placed: dict[str, gs.Tensor]) -> gs.Tensor:
    """The tensor of the outer graph that stands for `tensor` of the body; inner tensors get fresh names."""
    if tensor.is_empty():
        return tensor
    if tensor.name not in placed:
        placed[tensor.name] = tensor
        tensor.name = rewriter.fresh_name(f"{prefix}.{tensor.name}")
        placed[tensor.name] = tensor
    return placed[tensor.name]


def _body(node: gs.Node, types: Types, opset: int) -> gs.Graph:
    sources = [t if t.is_empty() else gs.Variable(t.name) for t in node.inputs]
    results = [t if t.is_empty() else gs.Variable(t.name) for t in node.outputs]
    alone = gs.Graph([node.copy(inputs=sources, outputs=results)], opset=opset)
    proto = gs.export_onnx(alone, do_type_check=False)
    proto.graph.input.extend(_info(t, types) for t in _once(node.inputs))
    proto.graph.output.extend(onnx.ValueInfoProto(name=t.name) for t in _once(node.outputs))
    inlined = inliner.inline_selected_functions(proto, [("", node.op)], inline_schema_functions=True)
    return gs.import_onnx(inlined)


def _once(tensors: list[gs.Tensor]) -> list[gs.Tensor]:
    return list({tensor.name: tensor for tensor in tensors if not tensor.is_empty()}.values())


def _info(tensor: gs.Tensor, types: Types) -> onnx.ValueInfoProto:
    if isinstance(tensor, gs.Constant):
        kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
        return onnx.helper.make_tensor_value_info(tensor.name, kind, list(tensor.shape))
    info = onnx.ValueInfoProto(name=tensor.name)
    if tensor.name in types:
        info.type.CopyFrom(types[tensor.name])
    return info
