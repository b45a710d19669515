"""Weights stored as small integers and rebuilt when the model is loaded or run.

    indices   uint8 -> Cast -> Gather(entries)
    packed    two 4-bit indices a byte, p = 16 h + l, the halves of an axis of even length:
              uint8 -> Cast -> Div 16, Mod 16 -> Concat(h, l) -> Gather(entries)
    scales    -> Mul(scales): one factor per filter

Indices keep the shape of the weight, so nothing is reshaped. The arithmetic is on int32, because Div takes no uint8
before opset 14. Names are short: a weight of 2,304 values takes 1,152 bytes, and a name is written three times.

onnxruntime computes these nodes once, when it loads the model, and then runs the dense Conv. TensorRT 10 (checked with
the builder of TensorRT-RTX 1.x) takes them into its engine. An engine that needs constant weights gets the dense weight.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .rewriter import Rewriter

FIRST_OPSET = 10
NIBBLE = 16


def pack_nibbles(codes: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Two codes below 16 a byte, and the axis whose first half is in the high nibbles; None where every axis is odd."""
    axis = next((axis for axis, length in enumerate(codes.shape) if length % 2 == 0), None)
    if axis is None:
        return None
    high, low = np.split(codes, 2, axis=axis)
    return (NIBBLE * high + low).astype(np.uint8), axis


def stored_size(shape: tuple[int, ...], entries: int, scales: int, itemsize: int) -> int:
    """Bytes of a weight of that shape in a file: indices, entries and scales, without names."""
    count = int(np.prod(shape))
    packed = entries <= NIBBLE and any(length % 2 == 0 for length in shape)
    return (count // 2 if packed else count) + (entries + scales) * itemsize


def rebuild(
    rewriter: Rewriter, node: gs.Node, codes: np.ndarray, entries: np.ndarray, scales: np.ndarray | None = None
) -> None:
    """Make input 1 of `node` the weight scales * entries[codes], computed in the graph.

    Args:
        codes: uint8, of the shape of the weight.
        entries: (K,), of the type of the weight.
        scales: broadcast against the weight, of its type; None: not scaled.
    """
    nodes: list[gs.Node] = []

    def add(op: str, *inputs: gs.Tensor, **attrs: int) -> gs.Tensor:
        result = rewriter.variable("w")
        nodes.append(rewriter.node(op, inputs, [result], "w", attrs, origin=node.name))
        return result

    packed = pack_nibbles(codes) if len(entries) <= NIBBLE else None
    stored, axis = packed or (codes, None)
    tensor = add("Cast", rewriter.constant("w", stored), to=onnx.TensorProto.INT32)
    if axis is not None:
        base = rewriter.constant("w", np.int32(NIBBLE))
        tensor = add("Concat", add("Div", tensor, base), add("Mod", tensor, base), axis=axis)
    tensor = add("Gather", rewriter.constant("w", entries), tensor)
    if scales is not None:
        tensor = add("Mul", tensor, rewriter.constant("w", scales))
    rewriter.insert_before(node, nodes)
    rewriter.set_input(node, 1, tensor)
