"""Networks that are in INT8 already, put back into float as far as their scales tell it.

    codes -> DequantizeLinear                      a constant in float: weights, and biases in INT32
    x -> QuantizeLinear -> DequantizeLinear        x, or what the pair clips it to

A pair also clips, and quantizers count on that: onnxruntime's leaves out every Relu and Clip whose work a zero point at
the end of the range does. So where a pair has its lowest value at 0, a Relu stays in its place, unless what is before
it is never negative. It is Clip to [0, 6] throughout where no such range is wider than 6 and one ends there: ReLU6.
What is shifted so that symmetric codes begin where 0 was (`shifts`) stays so, with a Clip there. Channels of zeros that
quantization has added go (`zero_channels`).

Scales per block, scales that are computed, types that numpy lacks, and integer operators (QLinearConv, ConvInteger)
are not read back.

Source: onnxruntime, `quantization/operators/activation.py`, QDQRemovableActivation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from ..weights import resolve
from .qdq import AVERAGES, MOVES
from .shifts import CLIP_INPUTS, is_shifted, limit_of
from .zero_channels import remove_zero_channels

INTEGER_LAYERS = frozenset(
    ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulNBits", "DynamicQuantizeMatMul")
)
NEVER_NEGATIVE = frozenset(("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Sqrt"))
SIX, TOLERANCE = 6.0, 1e-3


@dataclass(frozen=True, eq=False)
class Pair:
    """QuantizeLinear, the DequantizeLinears that alone read it, and the range that it clips to."""

    quantize: gs.Node
    dequantize: list[gs.Node]
    low: float
    high: float


def integer_layers(graph: gs.Graph) -> list[gs.Node]:
    """Layers that compute in integers by operators of their own."""
    return [node for node in graph.nodes if node.op in INTEGER_LAYERS]


def dequantize(rewriter: Rewriter) -> tuple[int, int]:
    """Put the graph back into float as the module docstring says; how many constants and pairs there were."""
    remove_zero_channels(rewriter)
    constants = sum([_fold(rewriter, node) for node in list(rewriter.graph.nodes) if node.op == "DequantizeLinear"])
    pairs = list(_pairs(rewriter.graph))
    clipping = [pair for pair in pairs if _clips(pair)]
    ends = [pair.high for pair in clipping if pair.low == 0]
    six = any(abs(end - SIX) <= TOLERANCE * SIX for end in ends) and max(ends) <= SIX * (1 + TOLERANCE)
    groups: dict[tuple[int, str, float], list[Pair]] = {}
    for pair in pairs:
        op = "Identity" if pair not in clipping else "Clip" if six or pair.low else "Relu"
        groups.setdefault((id(pair.quantize.inputs[0]), op, 0.0 if op == "Identity" else pair.low), []).append(pair)
    for (_, op, _), group in groups.items():
        _remove(rewriter, group, op)
    return constants, len(pairs)


def unreadable(tensor: gs.Tensor) -> str:
    """Why a weight behind a DequantizeLinear cannot be read back."""
    while tensor.inputs and tensor.inputs[0].op != "DequantizeLinear":
        tensor = tensor.inputs[0].inputs[0]
    node = tensor.inputs[0]
    if node.domain not in (None, "", "ai.onnx"):
        return f"'{node.name}' is an operator of {node.domain}"
    scale = resolve(node.inputs[1])
    if scale is None:
        return f"the scales of '{node.name}' are no constants"
    if scale.ndim > 1:
        return f"the scales of '{node.name}' are per block"
    return f"the codes of '{node.name}' are of a type or form that cannot be read"


def _fold(rewriter: Rewriter, node: gs.Node) -> bool:
    """Make the result of a DequantizeLinear a constant, where it is one."""
    result, values = node.outputs[0], resolve(node.outputs[0])
    if values is None or any(tensor is result for tensor in rewriter.graph.outputs):
        return False
    source, constant = node.inputs[0], rewriter.constant(f"{result.name}.float", values)
    _redirect(rewriter, result, constant)
    rewriter.remove(node)
    if source.inputs and source.inputs[0].op == "QuantizeLinear" and not source.outputs:
        rewriter.remove(source.inputs[0])
    return True


def _pairs(graph: gs.Graph) -> Iterator[Pair]:
    outputs = {id(tensor) for tensor in graph.outputs}
    for node in graph.nodes:
        readers = list(node.outputs[0].outputs) if node.op == "QuantizeLinear" and not node.domain else []
        if not readers or id(node.outputs[0]) in outputs:
            continue
        known = [_grid(each) for each in (node, *readers)]
        if all(each.op == "DequantizeLinear" for each in readers) and known[0] is not None and len(set(known)) == 1:
            scale, zero, kind = known[0]
            limits = np.iinfo(kind)
            yield Pair(node, readers, (limits.min - zero) * scale, (limits.max - zero) * scale)


def _grid(node: gs.Node) -> tuple[float, int, str] | None:
    """Scale, zero point and the type of the codes of a Q or DQ with one scale for the whole tensor."""
    if node.domain or len(node.inputs) < 2:
        return None
    scale = resolve(node.inputs[1])
    zero = resolve(node.inputs[2]) if len(node.inputs) > 2 and not node.inputs[2].is_empty() else np.uint8(0)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu":
        return None
    return float(scale.reshape(())), int(zero.reshape(())), str(zero.dtype)


def _clips(pair: Pair) -> bool:
    """Its lowest value is 0, or was before a shift, and something below that may come."""
    if pair.low != 0 and not is_shifted(pair.quantize.inputs[0]):
        return False
    waiting = [pair.quantize.inputs[0]]
    while waiting:
        source = waiting.pop()
        if not source.inputs:
            continue  # an input of the network, or a constant: no operator was left out behind it
        producer = source.inputs[0]
        if producer.op == "QuantizeLinear" and _lowest(producer) == pair.low:
            continue
        if producer.op in MOVES | AVERAGES | {"Concat", "QuantizeLinear", "DequantizeLinear"}:
            waiting += producer.inputs if producer.op == "Concat" else producer.inputs[:1]
        elif producer.op not in NEVER_NEGATIVE and not _clipped(producer, pair.low):
            return True
    return False


def _clipped(node: gs.Node, low: float) -> bool:
    if node.op != "Clip":
        return False
    limit = limit_of(node, 1, "min")
    return limit is not None and limit >= low * (1 + TOLERANCE)


def _remove(rewriter: Rewriter, pairs: Sequence[Pair], op: str) -> None:
    """Let `op` stand for pairs of one tensor; an Identity is left out where it can be."""
    graph, anchor = rewriter.graph, pairs[0].quantize
    results = [node.outputs[0] for pair in pairs for node in pair.dequantize]
    kept = next((tensor for tensor in results if _is_output(graph, tensor)), results[0])
    stand_in = _operator(rewriter, op, pairs[0])
    for node in [node for pair in pairs for node in pair.dequantize]:
        rewriter.remove(node)
    stand_in.outputs = [kept]
    rewriter.insert_before(anchor, [stand_in])
    for tensor in (each for each in results if each is not kept):
        if _is_output(graph, tensor):
            rewriter.insert_before(anchor, [rewriter.node("Identity", [kept], [tensor], f"{stand_in.name}.Identity")])
        else:
            _redirect(rewriter, tensor, kept)
    for pair in pairs:
        rewriter.remove(pair.quantize)
    if op == "Identity" and rewriter.can_bypass(stand_in):
        rewriter.bypass(stand_in)


def _lowest(node: gs.Node) -> float | None:
    """What the codes of a QuantizeLinear reach down to."""
    grid = _grid(node)
    return None if grid is None else (np.iinfo(grid[2]).min - grid[1]) * grid[0]


def _operator(rewriter: Rewriter, op: str, pair: Pair) -> gs.Node:
    source, name = pair.quantize.inputs[0], f"{pair.quantize.name}.{op}"
    if op != "Clip":
        return rewriter.node(op, [source], [], name)
    limits = {"min": 0.0, "max": SIX} if pair.low == 0 else {"min": pair.low}
    if (rewriter.graph.opset or 0) < CLIP_INPUTS:
        return rewriter.node(op, [source], [], name, limits)
    constants = [rewriter.constant(f"{name}.{word}", np.array(end, np.float32)) for word, end in limits.items()]
    return rewriter.node(op, [source, *constants], [], name)


def _redirect(rewriter: Rewriter, old: gs.Tensor, new: gs.Tensor) -> None:
    """All that read `old` read `new`."""
    for node in list(old.outputs):
        for index, tensor in enumerate(node.inputs):
            if tensor is old:
                rewriter.set_input(node, index, new)


def _is_output(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    return any(tensor is output for output in graph.outputs)
