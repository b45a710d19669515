"""Lowering a graph's opset, node by node, for engines that read older ones only.

ONNX's own converter lowers few operators. But most new versions of an operator only admit more types; so

1. where the operator has the same version in both opsets, nothing is to do;
2. an operator whose meaning or form changed is rewritten by its entry in `ADAPTERS`, which may refuse it;
3. an attribute that the older version does not know goes if it says what the older version does anyway: it has its
   default value, or `NEUTRAL` accepts it;
4. inputs beyond those of the older version, and operators that it does not have, are refused.

Types are not looked at: the ONNX checker does that after the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import defs

from ...errors import CompressError
from ..rewriter import Rewriter
from ..storage.operators import declare, declared
from .adapters import ADAPTERS, Shapes

NEUTRAL: Mapping[str, Callable[[Any], bool]] = {
    "dilations": lambda steps: all(step == 1 for step in steps),
    "saturate": lambda _: True,
    "round_mode": lambda _: True,
    "output_dtype": lambda kind: int(kind) in (0, onnx.TensorProto.INT8, onnx.TensorProto.UINT8),
}


def lower_opset(rewriter: Rewriter, opset: int, shapes: Shapes) -> list[str]:
    """Lower the graph of `rewriter` in place to `opset`; the names of the nodes that changed.

    `shapes` gives tensor shapes as far as they are known (None: an unknown dimension).

    Raises:
        CompressError: a node has no form in that opset. The graph is then half done.
    """
    before = rewriter.graph.opset
    changed: list[str] = []
    for part in rewriter.parts():
        for node in list(part.graph.nodes):
            if _version(node, before) != _version(node, opset) and _lower(node, part, opset, shapes):
                changed.append(node.name)
    for part in rewriter.parts():
        _set_opset(part.graph, opset)
    if declared(rewriter.graph):
        declare(rewriter.graph)
    return changed


def has_operator(node: gs.Node, opset: int) -> bool:
    """Whether the default operator set of version `opset` holds the node's operator."""
    return _version(node, opset) is not None


def _set_opset(graph: gs.Graph, opset: int) -> None:
    """Copies of the graph share the list of domains, so it is replaced."""
    graph.opset = opset
    others = [entry for entry in graph.import_domains or () if entry.domain]
    graph.import_domains = [onnx.helper.make_opsetid("", opset), *others]


def _version(node: gs.Node, opset: int) -> int | None:
    """The version of the node's operator in `opset`; None where it does not have it, or knows no such operator."""
    if node.domain:
        return None
    try:
        return defs.get_schema(node.op, max_inclusive_version=opset).since_version
    except defs.SchemaError:
        return None


def _lower(node: gs.Node, rewriter: Rewriter, opset: int, shapes: Shapes) -> bool:
    """Whether the node had to change."""
    if not has_operator(node, opset):
        raise _refusal(node, opset, "it came with a later opset")
    schema = defs.get_schema(node.op, max_inclusive_version=opset)
    adapter = ADAPTERS.get(node.op)
    adapted = adapter is not None and schema.since_version < adapter.version
    if adapter is not None and adapted:
        reason = adapter.rewrite(node, rewriter, shapes)
        if reason is not None:
            raise _refusal(node, opset, reason)
    unknown = [name for name in node.attrs if name not in schema.attributes]
    for name in unknown:
        if not _is_neutral(node, name):
            raise _refusal(node, opset, f"its attribute '{name}' is {node.attrs[name]}")
        del node.attrs[name]
    if len(node.inputs) > schema.max_input:
        raise _refusal(node, opset, f"it has {len(node.inputs)} inputs, of which that opset knows {schema.max_input}")
    return adapted or bool(unknown)


def _is_neutral(node: gs.Node, name: str) -> bool:
    if name in NEUTRAL:
        return NEUTRAL[name](node.attrs[name])
    default = defs.get_schema(node.op).attributes[name].default_value
    return bool(default.name) and onnx.helper.get_attribute_value(default) in (node.attrs[name], _encoded(node, name))


def _encoded(node: gs.Node, name: str) -> object:
    value = node.attrs[name]
    return value.encode() if isinstance(value, str) else value


def _refusal(node: gs.Node, opset: int, reason: str) -> CompressError:
    return CompressError(
        f"{node.op} has no form in opset {opset}: {reason}",
        f"node '{node.name}'",
        f"export the network with opset {opset}, or choose another --target",
    )
