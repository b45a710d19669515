"""Which layers stay in float whatever their rounding would cost, and why."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.heads import head_layers
from ...compiler.graph.quantization.quantizable import is_layer, unsupported_reason
from ...compiler.graph.ties import readers
from ...compiler.graph.weights import declared_input
from ...compiler.pipeline.context import Context
from .requantization import not_read_back

HEAD = "stays in float: {op} '{name}' chooses by what it predicts, no layer between (heads=true quantizes it)"


def exclusions(graph: gs.Graph, ctx: Context, heads: bool, requantize: bool) -> dict[int, str | None]:
    """`id` of each layer -> why it stays as it is, or None.

    Args:
        heads, requantize: the options of `quantize`.
    """
    choosers = {} if heads else head_layers(graph)
    layers = [node for node in graph.nodes if is_layer(node)]
    own = {id(node): _refusal(node, graph, ctx) or _is_head(choosers.get(id(node))) for node in layers}
    if requantize:
        own |= {id(node): not_read_back(node, own[id(node)]) for node in layers}
    return own | {id(node): _keeps_float(node, own) for node in layers if own[id(node)] is None}


def _refusal(node: gs.Node, graph: gs.Graph, ctx: Context) -> str | None:
    reason = ctx.out_of_scope(node.name) or unsupported_reason(node, ctx.target.group_multiple)
    declared = declared_input(node.inputs[1], graph)
    return f"its weight is the model input '{declared.name}'" if reason is None and declared is not None else reason


def _is_head(chooser: gs.Node | None) -> str | None:
    return None if chooser is None else HEAD.format(op=chooser.op, name=chooser.name)


def _keeps_float(node: gs.Node, reasons: Mapping[int, str | None]) -> str | None:
    """A weight is quantized for all that read it, or for none: it is stored once."""
    for reader in readers(node.inputs[1]):
        if id(reader) not in reasons:
            return f"shares its weight with {reader.op} '{reader.name}', which keeps it"
        if reasons[id(reader)] is not None:
            return f"shares its weight with '{reader.name}': {reasons[id(reader)]}"
    return None
