"""Parts of tensors, by position or by index. Negative indices count from the end."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .node_context import NodeContext, Tensor, TorchKernel
from .windows import margins

F = torch.nn.functional

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
MODES = {"reflect": "reflect", "edge": "replicate"}


def gather(ctx: NodeContext) -> TorchKernel:
    axis, shape = ctx.axis(), ctx.shape(1)
    size, known = ctx.shape()[axis], ctx.known[1]
    if known and not shape:
        position = int(ctx.constant(1)) % size
        return lambda x, _: x.select(axis, position)
    result = [*ctx.shape()[:axis], *shape, *ctx.shape()[axis + 1 :]]
    if known:
        fixed = (ctx.inputs[1] % size).reshape(-1)
        return lambda x, _: x.index_select(axis, fixed).reshape(result)
    return lambda x, index: x.index_select(axis, (index % size).reshape(-1)).reshape(result)


def gather_elements(ctx: NodeContext) -> TorchKernel:
    axis = ctx.axis()
    size = ctx.shape()[axis]
    return lambda x, index: torch.gather(x, axis, index.long() % size)


def gather_nd(ctx: NodeContext) -> TorchKernel:
    """The last axis of the indices holds a position; `batch_dims` axes are walked together."""
    shared = ctx.get("batch_dims", 0)
    shape, rank = ctx.shape(), ctx.rank(1)
    grid = [
        ctx.like(np.arange(size).reshape([-1 if axis == other else 1 for other in range(rank - 1)]))
        for axis, size in enumerate(shape[:shared])
    ]
    sizes = ctx.like(shape[shared : shared + ctx.shape(1)[-1]])
    return lambda x, index: x[(*grid, *(index % sizes).unbind(-1))]


def scatter_elements(ctx: NodeContext) -> TorchKernel:
    axis, how = ctx.axis(), ctx.text("reduction", "none")
    size = ctx.shape()[axis]
    if how == "none":
        return lambda x, index, updates: x.scatter(axis, index.long() % size, updates)
    name = REDUCTIONS[how]
    return lambda x, index, updates: x.scatter_reduce(axis, index.long() % size, updates, name)


def scatter_nd(ctx: NodeContext) -> TorchKernel:
    how = ctx.text("reduction", "none")
    if how not in ("none", "add"):
        ctx.refuse(f"reduction {how}")
    sizes = ctx.like(ctx.shape()[: ctx.shape(1)[-1]])
    return lambda x, index, updates: x.index_put((index % sizes).unbind(-1), updates, accumulate=how == "add")


def one_hot(ctx: NodeContext) -> TorchKernel:
    depth, axis = int(ctx.constant(1).item()), ctx.get("axis", -1) % (ctx.rank() + 1)
    classes = ctx.like(range(depth)).reshape([-1 if i == axis else 1 for i in range(ctx.rank() + 1)])
    return lambda index, _, values: torch.where((index.long() % depth).unsqueeze(axis) == classes, values[1], values[0])


def slices(ctx: NodeContext) -> TorchKernel:
    """Python's slices, several axes at once; PyTorch has no negative steps, there positions are listed."""
    starts, ends = ctx.setting("starts", 1), ctx.setting("ends", 2)
    axes = ctx.setting("axes", 3) or list(range(len(starts)))
    steps = ctx.setting("steps", 4) or [1] * len(starts)
    view: list[Any] = [slice(None)] * ctx.rank()
    backwards: list[tuple[int, Tensor]] = []
    for axis, *ends_and_step in zip(axes, starts, ends, steps, strict=True):
        axis = axis % ctx.rank()
        positions = range(*slice(*ends_and_step).indices(ctx.shape()[axis]))
        if positions.step > 0:
            view[axis] = slice(positions.start, max(positions.stop, positions.start), positions.step)
        else:
            backwards.append((axis, ctx.like(list(positions))))
    return _sliced(tuple(view), backwards)


def _sliced(view: tuple[Any, ...], backwards: Sequence[tuple[int, Tensor]]) -> TorchKernel:
    def kernel(x: Tensor, *_: Tensor) -> Tensor:
        y = x[view]
        for axis, positions in backwards:
            y = y.index_select(axis, positions)
        return y

    return kernel


def pad(ctx: NodeContext) -> TorchKernel:
    """PyTorch reflects and repeats images only; elsewhere positions are listed, axis by axis."""
    pads, mode, rank = ctx.setting("pads", 1), ctx.text("mode", "constant"), ctx.rank()
    axes = [axis % rank for axis in ctx.setting("axes", 3) or range(rank)]
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    if mode == "constant":
        return _filled(ctx, margins(before, after))
    if mode not in MODES:
        ctx.refuse(f"padding by {mode}")
    image = 3 <= rank <= 5 and not any(before[:2] + after[:2]) and min(before + after) >= 0
    if image:
        extra, name = margins(before[2:], after[2:]), MODES[mode]
        return lambda x, *_: F.pad(x, extra, mode=name)
    return _sliced((...,), [_reached(ctx, axis, *ends, mode) for axis, ends in _ends(before, after)])


def _filled(ctx: NodeContext, extra: list[int]) -> TorchKernel:
    fill = ctx.constant(2).item() if ctx.has(2) else ctx.get("value", 0.0)
    if ctx.inputs[0].dtype == torch.bool:
        return lambda x, *_: F.pad(x.to(torch.uint8), extra, value=fill).bool()
    return lambda x, *_: F.pad(x, extra, value=fill)


def _ends(before: list[int], after: list[int]) -> list[tuple[int, tuple[int, int]]]:
    ends = enumerate(zip(before, after, strict=True))
    return [(axis, pair) for axis, pair in ends if any(pair)]


def _reached(ctx: NodeContext, axis: int, before: int, after: int, mode: Any) -> tuple[int, Tensor]:
    """The positions along an axis that a padded one shows; negative pads crop."""
    positions = np.arange(ctx.shape()[axis])
    positions = positions[max(-before, 0) : len(positions) - max(-after, 0)]
    return axis, ctx.like(np.pad(positions, (max(before, 0), max(after, 0)), mode))


BUILT = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "Pad": pad,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Slice": slices,
}
