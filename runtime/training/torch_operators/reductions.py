"""Sums, extrema and their like over axes. Axes are an attribute or, from opset 13 or 18 on, an input."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from .node_context import NodeContext, Tensor, TorchKernel

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceProd": _prod,
    "ReduceSum": torch.sum,
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(axes, keepdim=keep),
}


def reduction(function: Reduction, ctx: NodeContext) -> TorchKernel:
    axes, keep = ctx.setting("axes", 1), bool(ctx.get("keepdims", 1))
    if not axes and ctx.get("noop_with_empty_axes", 0):
        return lambda x, *_: x
    axes = [axis % max(ctx.rank(), 1) for axis in axes or range(ctx.rank())]
    if not ctx.rank():
        return lambda x, *_: function(x.reshape(1), [0], False)
    return lambda x, *_: function(x, axes, keep)


def extremum(function: TorchKernel, ctx: NodeContext) -> TorchKernel:
    """ArgMax or ArgMin: of equal elements the first, or the last."""
    axis, keep, size = ctx.axis(), bool(ctx.get("keepdims", 1)), ctx.shape()[ctx.axis()]
    if not ctx.get("select_last_index", 0):
        return lambda x: function(x, axis, keepdim=keep)
    return lambda x: size - 1 - function(x.flip(axis), axis, keepdim=keep)


def cumulative_sum(ctx: NodeContext) -> TorchKernel:
    axis = int(ctx.constant(1).item()) % ctx.rank()
    reverse, exclusive = ctx.get("reverse", 0), ctx.get("exclusive", 0)

    def kernel(x: Tensor, _: Tensor) -> Tensor:
        y = x.flip(axis) if reverse else x
        total = y.cumsum(axis)
        total = total - y if exclusive else total
        return total.flip(axis) if reverse else total

    return kernel


def top_k(ctx: NodeContext) -> TorchKernel:
    count, axis = int(ctx.setting("k", 1)[0]), ctx.axis(-1)
    largest = bool(ctx.get("largest", 1))
    return lambda x, _: torch.topk(x, count, axis, largest, True)


BUILT = {
    "ArgMax": partial(extremum, torch.argmax),
    "ArgMin": partial(extremum, torch.argmin),
    "CumSum": cumulative_sum,
    "TopK": top_k,
    **{name: partial(reduction, function) for name, function in REDUCTIONS.items()},
}
