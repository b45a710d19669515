"""Networks that are in INT8 already: what is said about them, and how they are put back into float to start anew."""

from __future__ import annotations

from collections import Counter

import onnx_graphsurgeon as gs

from ...compiler.errors import CompressError
from ...compiler.graph.quantization.dequantize import dequantize, integer_layers, unreadable
from ...compiler.graph.quantization.quantizable import QUANTIZED, is_layer
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.weights import is_quantized
from ...compiler.pipeline.base import PassResult
from ...compiler.pipeline.context import Context

ALREADY = (
    "{count} of {layers} layers are in INT8 already and stay as they are: for another target, or with other data, take "
    "the network from before it was quantized, or quantize:requantize=true, which reads the scales back"
)
INTEGERS = (
    "{count} layers compute in integers by operators that are not read back ({operators}): take the network from "
    "before it was quantized, or quantize it with Q/DQ pairs (onnxruntime: quant_format=QDQ)"
)
READ_BACK = (
    "put back into float before it is quantized anew: {constants} weights and biases, {pairs} pairs of activations; "
    "the report compares with the network in INT8 that came in"
)


def put_into_float(graph: gs.Graph, ctx: Context) -> PassResult:
    """Take the quantization out of `graph`; `CompressError` where nothing tells what activations range over."""
    if ctx.data is None:
        what = "requantize needs data: the ranges of the activations are found anew"
        raise CompressError(what, "quantize:requantize=true", "give --data")
    constants, pairs = dequantize(Rewriter(graph, ctx.origins))
    if not constants + pairs:
        return PassResult()
    return PassResult(changed=True, notes=[READ_BACK.format(constants=constants, pairs=pairs)])


def remarks(graph: gs.Graph, tried: bool) -> list[str]:
    """What there is to say of layers that are in INT8; `tried`: they are those that were not read back."""
    layers = [node for node in graph.nodes if is_layer(node)]
    count = 0 if tried else sum(is_quantized(node.inputs[1]) for node in layers)
    integers = Counter(node.op for node in integer_layers(graph))
    operators = ", ".join(sorted(integers))
    return [
        *([ALREADY.format(count=count, layers=len(layers))] if count else []),
        *([INTEGERS.format(count=integers.total(), operators=operators)] if integers else []),
    ]


def not_read_back(node: gs.Node, reason: str | None) -> str | None:
    """`reason`, or why the weight of a layer is still quantized after `put_into_float`."""
    return f"its weight is not read back: {unreadable(node.inputs[1])}" if reason == QUANTIZED else reason
