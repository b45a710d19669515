"""Channels of zeros for the INT8 Convs that read what a network is given.

Kernels multiply several values of a row at once (`Target.row_multiple`), and are slow with rows of other lengths: three
channels under 3 x 3 taps are rows of 27. With a channel of zeros they are rows of 36, and the Conv computes the same
sums, to the bit, in less time. onnxruntime 1.32, one thread, VNNI, microseconds of such a Conv, the pair in front of it
and a 1 x 1 Conv behind it:

    3 -> 64, 3 x 3, 224 x 224        10393 -> 6700        3 -> 64, 7 x 7 / 2, 224 x 224     2289 -> 2198
    3 -> 64, 3 x 3 / 2, 224 x 224     1612 -> 1208        3 -> 16, 3 x 3, 32 x 32             59 -> 47
    3 -> 32, 3 x 3 / 2, 224 x 224      993 -> 783         1 -> 16, 3 x 3, 64 x 64            186 -> 145

Long rows lose more by the zeros than they gain (11 x 11: 833 -> 1111), and so do few filters (3 -> 8: 127 -> 131).

Behind other INT8 kernels a Conv stays as it is: the zeros would be a kernel between two that hand on codes.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from ..weights import resolve

LONGEST, FEWEST = 160, 16
"""Values of a row, and filters, of Convs that gain."""
FIRST_OPSET = 11
"""In which the widths of a Pad are an input."""


def add_zero_channels(rewriter: Rewriter, names: Collection[str], multiple: int) -> list[str]:
    """Of the Convs of these names, those that read what the network is given get rows of a multiple; which they were.

    Convs are between pairs (`quantizers`), and alone in reading theirs.
    """
    if multiple == 1 or rewriter.graph.opset < FIRST_OPSET:
        return []
    convs = [node for node in rewriter.graph.nodes if node.op == "Conv" and node.name in names]
    return [conv.name for conv in convs if _widened(rewriter, conv, multiple)]


def missing_channels(shape: tuple[int, ...], multiple: int) -> int:
    """How many channels of zeros a weight (N, C, taps...) gains by; 0 where it gains nothing."""
    filters, channels, *kernel = shape
    taps = prod(kernel)
    if filters < FEWEST or channels * taps > LONGEST:
        return 0
    return next(more for more in range(multiple) if (channels + more) * taps % multiple == 0)


def _widened(rewriter: Rewriter, conv: gs.Node, multiple: int) -> bool:
    pair, stored = _pair(conv.inputs[0]), _holder(conv.inputs[1])
    if conv.attrs.get("group", 1) != 1 or pair is None or stored is None or not _is_given(pair.inputs[0]):
        return False
    codes = resolve(stored.inputs[0])
    if codes is None:
        return False
    more = missing_channels(codes.shape, multiple)
    if not more:
        return False
    widths: np.ndarray = np.zeros((codes.ndim, 2), np.int64)
    widths[1, 1] = more
    x = pair.inputs[0]
    wider = rewriter.variable(f"{x.name}.wider", x.dtype)
    ends = rewriter.constant(f"{x.name}.widths", widths.T.ravel())
    rewriter.insert_before(pair, [rewriter.node("Pad", [x, ends], [wider], f"{conv.name}.Pad")])
    rewriter.set_input(pair, 0, wider)
    rewriter.set_weight(stored, 0, np.pad(codes, widths.tolist()), f"{stored.inputs[0].name}.wider")
    return True


def _pair(tensor: gs.Tensor) -> gs.Node | None:
    """The QuantizeLinear that one node alone reads the codes of."""
    dequantize = _only_writer(tensor, "DequantizeLinear")
    return None if dequantize is None else _only_writer(dequantize.inputs[0], "QuantizeLinear")


def _holder(weight: gs.Tensor) -> gs.Node | None:
    """The node that a stored weight goes through first, alone and for one reader."""
    dequantize = _only_writer(weight, "DequantizeLinear")
    if dequantize is None or isinstance(dequantize.inputs[0], gs.Constant):
        return dequantize
    return _only_writer(dequantize.inputs[0], "QuantizeLinear")


def _only_writer(tensor: gs.Tensor, op: str) -> gs.Node | None:
    writer = tensor.inputs[0] if len(tensor.inputs) == 1 else None
    return writer if writer is not None and writer.op == op and len(tensor.outputs) == 1 else None


def _is_given(tensor: gs.Tensor) -> bool:
    """Whether no INT8 kernel is in front of a tensor."""
    waiting, seen = [tensor], set[int]()
    while waiting:
        each = waiting.pop()
        for node in each.inputs:
            if node.op == "DequantizeLinear":
                return False
            waiting += [other for other in node.inputs if id(other) not in seen]
            seen.update(id(other) for other in node.inputs)
    return True
