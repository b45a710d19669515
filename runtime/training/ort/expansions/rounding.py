"""Q/DQ pairs: they round going forward, and going back they are straight inside their range and flat outside.

    z = DequantizeLinear(QuantizeLinear(x))       is computed
    z = x bounded to the range of the codes       is differentiated: dz/dx = 1 within, 0 without

An Identity stands where the pair's output was: it reads the bounded x, so that everything behind it is differentiated
as a function of z, and its own gradient asks for no value. When the gradient graph is there, the pair takes its place.

Source: Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic neurons", 2013 (the
straight-through estimator); the gradient with bounds is that of onnxruntime's FakeQuant.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .formula import Expansion, ExpansionContext, Straight, Term

CODES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
"""The lowest and the highest, by type."""


def _pair(ctx: ExpansionContext) -> Term | None:
    """For a DequantizeLinear; one of stored codes has no gradient and needs none."""
    quantizer = ctx.node.inputs[0].inputs[0] if ctx.node.inputs[0].inputs else None
    if quantizer is None or quantizer.op != "QuantizeLinear":
        return None
    inner = ExpansionContext(ctx.rewriter, quantizer, ctx.straight)
    _write(ctx, inner)
    ctx.made.clear()
    return _bounded(ctx, inner).apply("Identity")


def _write(ctx: ExpansionContext, inner: ExpansionContext) -> None:
    """The pair as it is, with constants of its own."""
    straight, base = ctx.straight, ctx.rewriter.fresh_name(f"{ctx.node.name}/pair")
    source, result = inner.node.inputs[0].name, ctx.node.outputs[0].name
    for part, inputs, output in ((inner, source, f"{base}/codes"), (ctx, f"{base}/codes", result)):
        names = [_keep(part, index, f"{base}/{part.node.op}/{index}") for index in range(1, len(part.node.inputs))]
        node = helper.make_node(part.node.op, [inputs, *names], [output], f"{base}/{part.node.op}", **part.node.attrs)
        straight.nodes.append(node)


def _keep(part: ExpansionContext, index: int, name: str) -> str:
    values = part.constant(index)
    if values is None:
        return ""
    part.straight.tensors.append(numpy_helper.from_array(values, name))
    return name


def _bounded(ctx: ExpansionContext, quantizer: ExpansionContext) -> Term:
    low, high = _bounds(quantizer)
    x = Term(ctx, quantizer.node.inputs[0])
    if low.size == 1:
        return x.apply("Clip", low.reshape(()), high.reshape(()))
    rank, axis = len(x.shape), quantizer.get("axis", 1)
    column = [1] * rank
    column[axis] = -1
    return x.apply("Max", low.reshape(column)).apply("Min", high.reshape(column))


def _bounds(quantizer: ExpansionContext) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the lowest and the highest code."""
    scale, zero = quantizer.constant(1), quantizer.constant(2)
    zero = np.zeros(1, np.uint8) if zero is None else zero
    if quantizer.get("block_size", 0) or scale is None or zero.dtype.name not in CODES:
        quantizer.refuse("only codes of 8 and 16 bits, with a scale per tensor or channel")
    low, high = CODES[zero.dtype.name]
    return (low - zero.astype(np.float32)) * scale, (high - zero.astype(np.float32)) * scale


def straight_model(straight: Straight, like: onnx.ModelProto) -> onnx.ModelProto:
    """The pairs, as a model without inputs or outputs."""
    graph = helper.make_graph(straight.nodes, "straight", [], [], straight.tensors)
    return helper.make_model(graph, opset_imports=like.opset_import, ir_version=like.ir_version)


ROUNDING: dict[str, Expansion] = {"DequantizeLinear": _pair}
