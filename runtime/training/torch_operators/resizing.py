"""Resize and Upsample: nearest neighbour and linear interpolation, axis by axis.

Output position i reads the input at

    half_pixel                (i + 1/2) / scale - 1/2
    pytorch_half_pixel        the same, but 0 where the output has one element
    align_corners             i (n - 1) / (m - 1), n elements becoming m
    asymmetric                i / scale; the only one up to opset 10

Up to opset 10 the nearest neighbour is the one below, or above where the axis shrinks, as onnxruntime has it. Positions
are computed in float32, as there, so that ties fall the same way. With sizes given, scale = m / n. Linear interpolation
is a matrix with two weights per row; two common forms of it take PyTorch's kernel.
"""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from .node_context import NodeContext, Tensor, TorchKernel

F = torch.nn.functional

COORDINATES: dict[str, Callable[[np.ndarray, int, int, float], np.ndarray]] = {
    "half_pixel": lambda i, n, m, scale: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, n, m, scale: (i + 0.5) / scale - 0.5 if m > 1 else 0 * i,
    "align_corners": lambda i, n, m, scale: i * (n - 1) / max(m - 1, 1),
    "asymmetric": lambda i, n, m, scale: i / scale,
}
ROUNDING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
NATIVE = {1: "linear", 2: "bilinear", 3: "trilinear"}
DEFAULTS = {
    "mode": "nearest",
    "nearest_mode": "round_prefer_floor",
    "coordinate_transformation_mode": "half_pixel",
    "keep_aspect_ratio_policy": "stretch",
}


def resize(ctx: NodeContext) -> TorchKernel:
    form = {name: ctx.text(name, default) for name, default in DEFAULTS.items()}
    if ctx.opset < 11:
        form |= {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    where, rounding = form["coordinate_transformation_mode"], form["nearest_mode"]
    if where not in COORDINATES or rounding not in ROUNDING or form["mode"] not in ("nearest", "linear"):
        ctx.refuse(f"{form['mode']} interpolation by {where}")
    if form["keep_aspect_ratio_policy"] != "stretch" or ctx.get("antialias", 0):
        ctx.refuse("antialiasing or a kept aspect ratio")
    scales, shape = _scales(ctx)
    if form["mode"] == "nearest":
        return _nearest(ctx, list(_axes(ctx, scales, shape)), where, rounding)
    exact = all(m == n * scale for m, n, scale in zip(shape, ctx.shape(), scales, strict=True))
    if exact and where in ("half_pixel", "align_corners") and shape[:2] == ctx.shape()[:2] and ctx.rank() - 2 in NATIVE:
        name, sizes = NATIVE[ctx.rank() - 2], shape[2:]
        return lambda x, *_: F.interpolate(x, sizes, mode=name, align_corners=where == "align_corners")
    return _linear([(axis, _weights(ctx, axis, m, scale, where)) for axis, scale, m in _axes(ctx, scales, shape)])


def _scales(ctx: NodeContext) -> tuple[list[float], list[int]]:
    """Scale and output size by axis; `axes` names those that `scales` or `sizes` speak of."""
    n = ctx.shape()
    place = 2 if ctx.opset >= 11 and ctx.node.op_type == "Resize" else 1
    axes = [axis % len(n) for axis in ctx.get("axes") or range(len(n))]
    scales, shape = [1.0] * len(n), list(n)
    if ctx.has(3) and ctx.shape(3) != [0]:
        for axis, m in zip(axes, ctx.constant(3).tolist(), strict=True):
            scales[axis], shape[axis] = m / n[axis], m
        return scales, shape
    for axis, scale in zip(axes, ctx.setting("scales", place), strict=True):
        scales[axis], shape[axis] = scale, int(np.floor(n[axis] * scale))
    return scales, shape


def _axes(ctx: NodeContext, scales: list[float], shape: list[int]) -> Iterator[tuple[int, float, int]]:
    """The axes that change."""
    for axis, (n, scale, m) in enumerate(zip(ctx.shape(), scales, shape, strict=True)):
        if n != m or scale != 1:
            yield axis, scale, m


def _nearest(ctx: NodeContext, axes: list[tuple[int, float, int]], where: str, rounding: str) -> TorchKernel:
    reads: list[tuple[int, Tensor]] = []
    for axis, scale, m in axes:
        n = ctx.shape()[axis]
        choose = np.ceil if ctx.opset < 11 and scale < 1 else ROUNDING[rounding]
        reads.append((axis, ctx.like(np.clip(choose(_positions(n, m, scale, where)), 0, n - 1))))

    def kernel(x: Tensor, *_: Tensor) -> Tensor:
        for axis, positions in reads:
            x = x.index_select(axis, positions)
        return x

    return kernel


def _positions(n: int, m: int, scale: float, where: str) -> np.ndarray:
    return COORDINATES[where](np.arange(m, dtype=np.float32), n, m, scale).astype(np.float32)


def _weights(ctx: NodeContext, axis: int, m: int, scale: float, where: str) -> Tensor:
    """The m x n matrix of linear interpolation; positions outside are moved to the edge."""
    n = ctx.shape()[axis]
    position = np.clip(_positions(n, m, scale, where), 0, n - 1)
    low = np.floor(position).astype(np.int64)
    matrix = np.zeros((m, n))
    np.add.at(matrix, (np.arange(m), low), 1 - (position - low))
    np.add.at(matrix, (np.arange(m), np.minimum(low + 1, n - 1)), position - low)
    return torch.as_tensor(matrix, dtype=ctx.inputs[0].dtype, device=ctx.inputs[0].device)


def _linear(axes: list[tuple[int, Tensor]]) -> TorchKernel:
    def kernel(x: Tensor, *_: Tensor) -> Tensor:
        for axis, matrix in axes:
            x = torch.tensordot(x, matrix, dims=([axis], [1])).movedim(-1, axis)
        return x

    return kernel


BUILT = {"Resize": resize, "Upsample": resize}
