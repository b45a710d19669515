"""Weights whose filters are segments of one vector, rebuilt when the model is loaded or run.

    weight[n] = scales[n] vector[(starts[n] + (0 ... d - 1)) mod L]

    starts (N, 1) -> Add(Range(0, d)) -> Mod L -> Gather(vector) -> Reshape -> Mul(scales)

A vector of bytes passes through DequantizeLinear first. No index but the starts is stored: N of them, not N d. They are
stored as two bytes each, 256 high + low, because TensorRT takes no 16-bit integers; beyond 65,535 as int32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .packed import Chain
from .rewriter import Rewriter


@dataclass(frozen=True, eq=False)
class Vector:
    """A vector (L,) as it is stored: floats, or bytes that stand for step * (byte - zero)."""

    stored: np.ndarray
    step: np.ndarray | None = None
    zero: int = 0


def rebuild_segments(
    rewriter: Rewriter,
    node: gs.Node,
    vector: Vector,
    starts: np.ndarray,
    shape: tuple[int, ...],
    scales: np.ndarray | None = None,
) -> None:
    """Make input 1 of `node` a weight of that shape.

    Args:
        starts: (N,), below L.
        scales: (N, 1, ...), of the type of the weight; None: not scaled.
    """
    chain = Chain(rewriter, node)

    def constant(values: np.ndarray | np.generic) -> gs.Constant:
        return rewriter.constant("w", np.asarray(values))

    first = _starts(chain, rewriter, starts)
    steps = chain.add("Range", *(constant(np.int32(bound)) for bound in (0, prod(shape[1:]), 1)))
    indices = chain.add("Mod", chain.add("Add", first, steps), constant(np.int32(len(vector.stored))))
    values: gs.Tensor = constant(vector.stored)
    if vector.step is not None:
        values = chain.add("DequantizeLinear", values, constant(vector.step), constant(np.uint8(vector.zero)))
    tensor = chain.add("Reshape", chain.add("Gather", values, indices), constant(np.array(shape)))
    chain.place(1, tensor if scales is None else chain.add("Mul", tensor, constant(scales)))


def _starts(chain: Chain, rewriter: Rewriter, starts: np.ndarray) -> gs.Tensor:
    column = starts[:, None]
    if starts.max(initial=0) > np.iinfo(np.uint16).max:
        return rewriter.constant("w", column.astype(np.int32))
    high, low = (
        chain.add("Cast", rewriter.constant("w", half.astype(np.uint8)), to=onnx.TensorProto.INT32)
        for half in (column >> 8, column & 255)
    )
    return chain.add("Add", chain.add("Mul", high, rewriter.constant("w", np.array(256, np.int32))), low)
