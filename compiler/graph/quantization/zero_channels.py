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

from collections.abc import Collection, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from ..weights import resolve, values_of

PAIR = "DequantizeLinear", "QuantizeLinear"
WIDENED = "DequantizeLinear", "Pad", "QuantizeLinear"
LONGEST, FEWEST = 160, 16
"""Values of a row, and filters, of Convs that gain."""
FIRST_OPSET = 13
"""In which onnxruntime pads bytes."""


def add_zero_channels(rewriter: Rewriter, names: Collection[str], multiple: int) -> list[str]:
    """Of the Convs of these names, those that read what the network is given get rows of a multiple; which they were.

    Convs are between pairs (`quantizers`), and alone in reading theirs.
    """
    if multiple == 1 or rewriter.graph.opset < FIRST_OPSET:
        return []
    convs = [node for node in rewriter.graph.nodes if node.op == "Conv" and node.name in names]
    return [conv.name for conv in convs if _widened(rewriter, conv, multiple)]


def remove_zero_channels(rewriter: Rewriter) -> None:
    """Take out what `add_zero_channels` has put in, for a network that is to be quantized anew."""
    for conv in [node for node in rewriter.graph.nodes if node.op == "Conv"]:
        chain, stored = _writers(conv.inputs[0], WIDENED), _stored(conv.inputs[1])
        widths = resolve(chain[1].inputs[1]) if chain else None
        if stored is None or widths is None or widths.size != 2 * stored.codes.ndim:
            continue
        (dequantize, pad, quantize), (holder, codes) = chain, stored
        more = int(widths[codes.ndim + 1])
        if more > 0 and widths.sum() == more and not codes[:, -more:].any():
            rewriter.set_input(dequantize, 0, quantize.outputs[0])
            rewriter.remove(pad)
            rewriter.set_weight(holder, 0, codes[:, :-more], f"{holder.inputs[0].name}.narrower")


def missing_channels(shape: tuple[int, ...], multiple: int) -> int:
    """How many channels of zeros a weight (N, C, taps...) gains by; 0 where it gains nothing."""
    filters, channels, *kernel = shape
    taps = prod(kernel)
    if filters < FEWEST or channels * taps > LONGEST:
        return 0
    return next(more for more in range(multiple) if (channels + more) * taps % multiple == 0)


def _widened(rewriter: Rewriter, conv: gs.Node, multiple: int) -> bool:
    pair, stored = _writers(conv.inputs[0], PAIR), _stored(conv.inputs[1])
    zero = resolve(pair[1].inputs[2]) if pair else None
    if conv.attrs.get("group", 1) != 1 or stored is None or zero is None:
        return False
    holder, codes = stored
    more = missing_channels(codes.shape, multiple)
    if not more or not _is_given(pair[1].inputs[0]):
        return False
    widths: np.ndarray = np.zeros((codes.ndim, 2), np.int64)
    widths[1, 1] = more
    _pad(rewriter, pair[0], widths, zero)
    rewriter.set_weight(holder, 0, np.pad(codes, widths.tolist()), f"{holder.inputs[0].name}.wider")
    return True


def _pad(rewriter: Rewriter, dequantize: gs.Node, widths: np.ndarray, zero: np.ndarray) -> None:
    """The codes in front of a DequantizeLinear: in float a Pad takes four times as long."""
    source = dequantize.inputs[0]
    ends = rewriter.constant(f"{source.name}.widths", widths.T.ravel())
    value = rewriter.constant(f"{source.name}.zero", zero.reshape(()))
    wider = rewriter.variable(f"{source.name}.wider", zero.dtype)
    rewriter.insert_before(dequantize, [rewriter.node("Pad", [source, ends, value], [wider], f"{source.name}.Pad")])
    rewriter.set_input(dequantize, 0, wider)


class _Stored(NamedTuple):
    """A weight that is stored, and the node that it goes through first."""

    holder: gs.Node
    codes: np.ndarray


def _stored(weight: gs.Tensor) -> _Stored | None:
    """What is behind a weight; None where others read it, too."""
    chain = _writers(weight, PAIR) or _writers(weight, PAIR[:1])
    source = chain[-1].inputs[0] if chain else None
    values = values_of(source) if isinstance(source, gs.Constant) else None
    return None if values is None else _Stored(chain[-1], values)


def _writers(tensor: gs.Tensor, ops: Sequence[str]) -> list[gs.Node]:
    """The nodes that lead to a tensor, nearest first: none unless they have these operators, and one reader each."""
    found = list[gs.Node]()
    for op in ops:
        writer = tensor.inputs[0] if len(tensor.inputs) == 1 else None
        if writer is None or writer.op != op or len(tensor.outputs) != 1:
            return []
        found.append(writer)
        tensor = writer.inputs[0]
    return found


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
