"""Quantizers with the straight-through gradient (Bengio et al. 2013, arXiv:1308.3432).

A quantized tensor is kept as the integers it holds, in float32:

    Q:   q = round(clamp(x / s, low - z, high - z)) + z     dq/dx = 1/s inside the range, 0 outside: rounding is ignored
    DQ:  y = (q - z) s

The scale gets its gradient by the same rule; for a pair it is that of LSQ (Esser et al. 2020, arXiv:1902.08153, eq. 3).
"""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import Any

import torch

from .elementwise import clamp
from .node_context import NodeContext, Tensor, TorchKernel


class Round(torch.autograd.Function):
    """Half to even; the gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def quantize(ctx: NodeContext) -> TorchKernel:
    kind = ctx.inputs[2].dtype if ctx.has(2) else torch.uint8
    if kind not in (torch.int8, torch.uint8):
        ctx.refuse(f"quantization to {kind}", "quantize to int8 or uint8")
    column, shift = _column(ctx), ctx.inputs[2].to(ctx.inputs[0].dtype) if ctx.has(2) else None
    low, high = torch.iinfo(kind).min, torch.iinfo(kind).max
    if shift is None or not ctx.constant(2).any():
        return lambda x, scale, *_: Round.apply(clamp(x / scale.reshape(column), low, high))
    shift = shift.reshape(column)
    low, high = low - shift, high - shift
    return lambda x, scale, *_: Round.apply(clamp(x / scale.reshape(column), low, high)) + shift


def dequantize(ctx: NodeContext) -> TorchKernel:
    column = _column(ctx)

    def kernel(q: Tensor, scale: Tensor, zero: Tensor = None) -> Tensor:
        steps = q.to(scale.dtype)
        return (steps if zero is None else steps - zero.reshape(column)) * scale.reshape(column)

    return kernel


def _column(ctx: NodeContext) -> list[int]:
    """The shape in which a scale of one element per channel, or of one element, is broadcast."""
    if ctx.get("block_size", 0):
        ctx.refuse("quantization by blocks")
    if ctx.rank(1) == 0 or ctx.shape(1) == [1]:
        return []
    return [-1 if axis == ctx.axis(1) else 1 for axis in range(ctx.rank())]


BUILT = {"DequantizeLinear": dequantize, "QuantizeLinear": quantize}
