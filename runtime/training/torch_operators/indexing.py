"""Parts of tensors, by position or by index. Negative indices count from the end."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .node_context import Kernel, NodeContext, Tensor
from .windows import margins

F = torch.nn.functional

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
MODES = {"reflect": "reflect", "edge": "replicate"}


def gather(site: NodeContext) -> Kernel:
    axis, shape = site.axis(), site.shape(1)
    size, known = site.shape()[axis], site.known[1]
    if known and not shape:
        position = int(site.constant(1)) % size
        return lambda x, _: x.select(axis, position)
    result = [*site.shape()[:axis], *shape, *site.shape()[axis + 1 :]]
    if known:
        fixed = (site.inputs[1] % size).reshape(-1)
        return lambda x, _: x.index_select(axis, fixed).reshape(result)
    return lambda x, index: x.index_select(axis, (index % size).reshape(-1)).reshape(result)


def gather_elements(site: NodeContext) -> Kernel:
    axis = site.axis()
    size = site.shape()[axis]
    return lambda x, index: torch.gather(x, axis, index.long() % size)


def gather_nd(site: NodeContext) -> Kernel:
    """The last axis of the indices holds a position; `batch_dims` axes are walked together."""
    shared = site.get("batch_dims", 0)
    shape, rank = site.shape(), site.rank(1)
    grid = [
        site.like(np.arange(size).reshape([-1 if axis == other else 1 for other in range(rank - 1)]))
        for axis, size in enumerate(shape[:shared])
    ]
    sizes = site.like(shape[shared : shared + site.shape(1)[-1]])
    return lambda x, index: x[(*grid, *(index % sizes).unbind(-1))]


def scatter_elements(site: NodeContext) -> Kernel:
    axis, how = site.axis(), site.text("reduction", "none")
    size = site.shape()[axis]
    if how == "none":
        return lambda x, index, updates: x.scatter(axis, index.long() % size, updates)
    name = REDUCTIONS[how]
    return lambda x, index, updates: x.scatter_reduce(axis, index.long() % size, updates, name)


def scatter_nd(site: NodeContext) -> Kernel:
    how = site.text("reduction", "none")
    if how not in ("none", "add"):
        site.refuse(f"reduction {how}")
    sizes = site.like(site.shape()[: site.shape(1)[-1]])
    return lambda x, index, updates: x.index_put((index % sizes).unbind(-1), updates, accumulate=how == "add")


def one_hot(site: NodeContext) -> Kernel:
    depth, axis = int(site.constant(1).item()), site.get("axis", -1) % (site.rank() + 1)
    classes = site.like(range(depth)).reshape([-1 if i == axis else 1 for i in range(site.rank() + 1)])
    return lambda index, _, values: torch.where((index.long() % depth).unsqueeze(axis) == classes, values[1], values[0])


def slices(site: NodeContext) -> Kernel:
    """Python's slices, several axes at once; PyTorch has no negative steps, there positions are listed."""
    starts, ends = site.setting("starts", 1), site.setting("ends", 2)
    axes = site.setting("axes", 3) or list(range(len(starts)))
    steps = site.setting("steps", 4) or [1] * len(starts)
    view: list[Any] = [slice(None)] * site.rank()
    backwards: list[tuple[int, Tensor]] = []
    for axis, *ends_and_step in zip(axes, starts, ends, steps, strict=True):
        axis = axis % site.rank()
        positions = range(*slice(*ends_and_step).indices(site.shape()[axis]))
        if positions.step > 0:
            view[axis] = slice(positions.start, max(positions.stop, positions.start), positions.step)
        else:
            backwards.append((axis, site.like(list(positions))))
    return _sliced(tuple(view), backwards)


def _sliced(view: tuple[Any, ...], backwards: Sequence[tuple[int, Tensor]]) -> Kernel:
    def kernel(x: Tensor, *_: Tensor) -> Tensor:
        y = x[view]
        for axis, positions in backwards:
            y = y.index_select(axis, positions)
        return y

    return kernel


def pad(site: NodeContext) -> Kernel:
    """PyTorch reflects and repeats images only; elsewhere positions are listed, axis by axis."""
    pads, mode, rank = site.setting("pads", 1), site.text("mode", "constant"), site.rank()
    axes = [axis % rank for axis in site.setting("axes", 3) or range(rank)]
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    if mode == "constant":
        return _filled(site, margins(before, after))
    if mode not in MODES:
        site.refuse(f"padding by {mode}")
    image = 3 <= rank <= 5 and not any(before[:2] + after[:2]) and min(before + after) >= 0
    if image:
        extra, name = margins(before[2:], after[2:]), MODES[mode]
        return lambda x, *_: F.pad(x, extra, mode=name)
    return _sliced((...,), [_reached(site, axis, *ends, mode) for axis, ends in _ends(before, after)])


def _filled(site: NodeContext, extra: list[int]) -> Kernel:
    fill = site.constant(2).item() if site.has(2) else site.get("value", 0.0)
    if site.inputs[0].dtype == torch.bool:
        return lambda x, *_: F.pad(x.to(torch.uint8), extra, value=fill).bool()
    return lambda x, *_: F.pad(x, extra, value=fill)


def _ends(before: list[int], after: list[int]) -> list[tuple[int, tuple[int, int]]]:
    ends = enumerate(zip(before, after, strict=True))
    return [(axis, pair) for axis, pair in ends if any(pair)]


def _reached(site: NodeContext, axis: int, before: int, after: int, mode: Any) -> tuple[int, Tensor]:
    """The positions along an axis that a padded one shows; negative pads crop."""
    positions = np.arange(site.shape()[axis])
    positions = positions[max(-before, 0) : len(positions) - max(-after, 0)]
    return axis, site.like(np.pad(positions, (max(before, 0), max(after, 0)), mode))


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
