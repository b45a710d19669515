"""Q/DQ pairs in the form that TensorRT takes: three inputs, INT8, zero point 0, weights as the target stores them.

1. A missing zero point is written out; where the codes are of UINT8 (ONNX's default), rule 2 follows.
2. UINT8 codes with zero point 128 are INT8 codes with zero point 0, 128 lower: the zero points and stored codes of such
   tensors are shifted, so that every value stays. Other zero points cannot be rewritten.
3. A vector of scales gets its `axis` written out: ONNX's default is 1, that of onnx-tensorrt 8.5 is 0.
4. Where the target takes no INT8 initializers, stored codes become FP32 -> Q -> DQ; re-quantizing gives the same codes.

Source: onnx-tensorrt 8.5-GA, QuantDequantLinearHelper in builtin_op_importers.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.quantizers import along
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.weights import resolve
from ...compiler.targets import Target
from .base import Edit, Pattern, is_tensorrt

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
MIDDLE = 128


def _quantizers(rewriter: Rewriter) -> Iterator[tuple[Rewriter, gs.Node]]:
    for part in rewriter.parts():
        for node in list(part.graph.nodes):
            if node.op in QUANTIZERS and not node.domain:
                yield part, node


def _write_zero_points(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for part, node in _quantizers(rewriter):
        scale = resolve(node.inputs[1])
        if scale is None or (len(node.inputs) > 2 and not node.inputs[2].is_empty()):
            continue
        kind = _code_type(node)
        part.set_input(node, 2, part.constant(f"{node.name}.zero_point", np.zeros(scale.shape, kind)))
        yield node.name, "zero point written out"


def _code_type(node: gs.Node) -> np.dtype:
    """The type of the codes of a node without a zero point: UINT8 where a QuantizeLinear without one wrote them."""
    codes = node.inputs[0] if node.op == "DequantizeLinear" else None
    stored = codes.dtype if codes is not None else None
    return stored if isinstance(stored, np.dtype) and stored.kind in "iu" else np.dtype(np.uint8)


def _make_signed(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    """Rule 2, for a whole chain Q -> DQs at once; a chain with anything in between is left to the lint."""
    for part, node in list(_quantizers(rewriter)):
        chain = _chain(node)
        if not chain or not all(_is_middle(link) for link in chain):
            continue
        codes = node.inputs[0] if node.op == "DequantizeLinear" else node.outputs[0]
        if isinstance(codes, gs.Constant):
            shifted = (codes.values.astype(np.int16) - MIDDLE).astype(np.int8)
            part.set_input(node, 0, part.constant(codes.name, shifted))
        elif isinstance(codes, gs.Variable):
            codes.dtype = np.dtype(np.int8)
        for link in chain:
            zero = resolve(link.inputs[2])
            assert zero is not None
            part.set_input(link, 2, part.constant(f"{link.name}.zero_point", np.zeros(zero.shape, np.int8)))
            yield link.name, "UINT8 codes around 128 written as INT8 codes around 0"


def _chain(node: gs.Node) -> list[gs.Node]:
    """The nodes that share one tensor of codes, where nothing else reads it and no older node leads the chain."""
    if node.op == "DequantizeLinear":
        return [node] if isinstance(node.inputs[0], gs.Constant) else []
    readers = list(node.outputs[0].outputs)
    return [node, *readers] if readers and all(reader.op == "DequantizeLinear" for reader in readers) else []


def _is_middle(node: gs.Node) -> bool:
    zero = resolve(node.inputs[2]) if len(node.inputs) > 2 else None
    return zero is not None and zero.dtype == np.uint8 and bool((zero == MIDDLE).all())


def _write_axes(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for _, node in _quantizers(rewriter):
        scale = resolve(node.inputs[1])
        if scale is not None and scale.size > 1 and "axis" not in node.attrs:
            node.attrs["axis"] = 1
            yield node.name, "axis written out"


def _store_floats(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for part, node in _quantizers(rewriter):
        codes = node.inputs[0]
        values = codes.values if isinstance(codes, gs.Constant) and codes.dtype == np.int8 else None
        scale = resolve(node.inputs[1])
        if node.op != "DequantizeLinear" or values is None or scale is None:
            continue
        axis = int(node.attrs.get("axis", 1))
        stored = part.constant(f"{codes.name}.float", values.astype(np.float32) * along(scale, axis, values.ndim))
        requantized = part.variable(f"{codes.name}.q", np.int8)
        inputs = [stored, *node.inputs[1:]]
        attrs = {"axis": axis} if scale.size > 1 else {}
        name = f"{node.name}.QuantizeLinear"
        part.insert_before(node, [part.node("QuantizeLinear", inputs, [requantized], name, attrs, node.name)])
        part.set_input(node, 0, requantized)
        yield node.name, "INT8 weight written as FP32 -> Q -> DQ"


def _wants_floats(target: Target) -> bool:
    return target.quantization == "float-qdq"


PATTERNS = (
    Pattern(is_tensorrt, _write_zero_points),
    Pattern(is_tensorrt, _make_signed),
    Pattern(is_tensorrt, _write_axes),
    Pattern(_wants_floats, _store_floats),
)
