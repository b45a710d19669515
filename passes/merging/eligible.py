"""Convs that may become part of another one."""

from __future__ import annotations

from ...compiler.graph.convs import Conv
from ...compiler.graph.ties import readers
from ...compiler.graph.weights import holds_codes
from ...compiler.pipeline.context import Context

ROUNDS = ("QuantizeLinear", "DequantizeLinear")
QUANTIZED = "it is quantized already: this pass comes before quantize"


def reason_against(conv: Conv, ctx: Context) -> str | None:
    """Why a Conv is to stay a node of its own; None where it need not."""
    scope = ctx.out_of_scope(conv.name)
    if scope is not None:
        return scope
    near = (*conv.input.inputs, *conv.output.outputs)
    if holds_codes(conv.node.inputs[1]) or any(node.op in ROUNDS for node in near):
        return QUANTIZED
    other = next((node for node in readers(conv.node.inputs[1]) if node is not conv.node), None)
    return None if other is None else f"shares its weight with {other.op} '{other.name}'"
