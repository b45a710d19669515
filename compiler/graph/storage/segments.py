"""Weights whose filters are segments of one vector, rebuilt when the model is loaded or run.

    weight[n] = scales[n] vector[(starts[n] + (0 ... d - 1)) mod L]

    starts (N, 1) -> Add(Range(0, d)) -> Mod L -> Gather(vector) -> Reshape -> Mul(scales)

A segment that starts a fraction t[n] behind an element lies on the line from there to the next segment:
a + t[n] (b - a), for which d + 1 elements are gathered.

A vector of bytes passes through Cast, Mul(step) and Add(low) first: TensorRT dequantizes no UINT8. No index but the
starts is stored: N of them, not N d. They are stored as two bytes each, 256 high + low, because TensorRT takes no
16-bit integers; beyond 65,535 as int32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from .packed import NodeChain


@dataclass(frozen=True, eq=False)
class SegmentVector:
    """A vector (L,) as it is stored: floats, or bytes that stand for step * byte + low, in the type of `step`."""

    stored: np.ndarray
    step: np.ndarray | None = None
    low: np.ndarray | None = None

    def values(self) -> np.ndarray:
        """What it stands for, (L,)."""
        if self.step is None or self.low is None:
            return self.stored
        return self.stored.astype(self.step.dtype) * self.step + self.low


def rebuild_segments(
    rewriter: Rewriter,
    node: gs.Node,
    vector: SegmentVector,
    starts: np.ndarray,
    shape: tuple[int, ...],
    scales: np.ndarray | None = None,
    fractions: np.ndarray | None = None,
) -> None:
    """Make input 1 of `node` a weight of that shape.

    Args:
        starts: (N,), below L.
        scales: (N, 1, ...), of the type of the weight; None: not scaled.
        fractions: (N, 1), of the type of the weight; None: segments start at elements.
    """
    chain = NodeChain(rewriter, node)

    def constant(values: np.ndarray | np.generic) -> gs.Constant:
        return rewriter.constant("w", np.asarray(values))

    first = _starts(chain, rewriter, starts)
    width = prod(shape[1:])
    gathered = width if fractions is None else width + 1
    steps = chain.add("Range", *(constant(np.int32(bound)) for bound in (0, gathered, 1)))
    indices = chain.add("Mod", chain.add("Add", first, steps), constant(np.int32(len(vector.stored))))
    values: gs.Tensor = constant(vector.stored)
    if vector.step is not None and vector.low is not None:
        kind = onnx.helper.np_dtype_to_tensor_dtype(vector.step.dtype)
        values = chain.add("Mul", chain.add("Cast", values, to=kind), constant(vector.step))
        values = chain.add("Add", values, constant(vector.low))
    segments = chain.add("Gather", values, indices)
    if fractions is not None:
        here, ahead = (
            chain.add("Slice", segments, *(constant(np.array([bound])) for bound in (low, low + width, 1)))
            for low in (0, 1)
        )
        segments = chain.add("Add", here, chain.add("Mul", chain.add("Sub", ahead, here), constant(fractions)))
    tensor = chain.add("Reshape", segments, constant(np.array(shape)))
    chain.place(1, tensor if scales is None else chain.add("Mul", tensor, constant(scales)))


def _starts(chain: NodeChain, rewriter: Rewriter, starts: np.ndarray) -> gs.Tensor:
    column = starts[:, None]
    if starts.max(initial=0) > np.iinfo(np.uint16).max:
        return rewriter.constant("w", column.astype(np.int32))
    high, low = (
        chain.add("Cast", rewriter.constant("w", half.astype(np.uint8)), to=onnx.TensorProto.INT32)
        for half in (column >> 8, column & 255)
    )
    return chain.add("Add", chain.add("Mul", high, rewriter.constant("w", np.array(256, np.int32))), low)
