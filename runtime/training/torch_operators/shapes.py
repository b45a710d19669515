"""The same elements in another shape or order. Shapes are fixed: what they depend on is known when a node is built."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from math import prod
from typing import Any

import torch

from .node_context import NodeContext, Tensor, TorchKernel


def reshape(ctx: NodeContext) -> TorchKernel:
    """0 keeps the size of that axis, unless `allowzero`."""
    sizes, keep = ctx.constant(1).tolist(), not ctx.get("allowzero", 0)
    shape = [ctx.shape()[axis] if size == 0 and keep else size for axis, size in enumerate(sizes)]
    return lambda x, _: x.reshape(shape)


def flatten(ctx: NodeContext) -> TorchKernel:
    axis, sizes = ctx.get("axis", 1), ctx.shape()
    shape = [prod(sizes[:axis]), prod(sizes[axis:])]
    return lambda x: x.reshape(shape)


def transpose(ctx: NodeContext) -> TorchKernel:
    order = ctx.get("perm", list(reversed(range(ctx.rank()))))
    return lambda x: x.permute(order)


def squeeze(ctx: NodeContext) -> TorchKernel:
    axes = ctx.setting("axes", 1)
    axes = [axis for axis, size in enumerate(ctx.shape()) if size == 1] if axes is None else axes
    gone = {axis % max(ctx.rank(), 1) for axis in axes}
    shape = [size for axis, size in enumerate(ctx.shape()) if axis not in gone]
    return lambda x, *_: x.reshape(shape)


def unsqueeze(ctx: NodeContext) -> TorchKernel:
    axes = ctx.setting("axes", 1)
    rank, sizes = ctx.rank() + len(axes), iter(ctx.shape())
    new = {axis % rank for axis in axes}
    shape = [1 if axis in new else next(sizes) for axis in range(rank)]
    return lambda x, *_: x.reshape(shape)


def expand(ctx: NodeContext) -> TorchKernel:
    shape = torch.broadcast_shapes(ctx.shape(), ctx.constant(1).tolist())
    return lambda x, _: x.expand(shape)


def tile(ctx: NodeContext) -> TorchKernel:
    repeats = ctx.constant(1).tolist()
    return lambda x, _: x.repeat(repeats)


def concat(ctx: NodeContext) -> TorchKernel:
    axis = ctx.axis()
    return lambda *inputs: torch.cat(inputs, axis)


def split(ctx: NodeContext) -> TorchKernel:
    """Sizes are given, or follow from the number of outputs: the last part may be smaller."""
    axis, size, parts = ctx.axis(), ctx.shape()[ctx.axis()], len(ctx.node.output)
    sizes = ctx.setting("split", 1) or -(-size // (ctx.get("num_outputs") or parts))
    return lambda x, *_: torch.split(x, sizes, axis)


def depth_to_space(ctx: NodeContext) -> TorchKernel:
    """DCR: channels are (block, block, depth); CRD: (depth, block, block)."""
    b, (n, c, h, w) = ctx.get("blocksize"), ctx.shape()
    depth = c // (b * b)
    if ctx.text("mode", "DCR") == "DCR":
        return _reordered([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2], [n, depth, h * b, w * b])
    return _reordered([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3], [n, depth, h * b, w * b])


def space_to_depth(ctx: NodeContext) -> TorchKernel:
    b, (n, c, h, w) = ctx.get("blocksize"), ctx.shape()
    return _reordered([n, c, h // b, b, w // b, b], [0, 3, 5, 1, 2, 4], [n, c * b * b, h // b, w // b])


def dropout(ctx: NodeContext) -> TorchKernel:
    """As in inference."""
    ctx.only(1)
    if ctx.has(2) and ctx.constant(2):
        ctx.refuse("Dropout in training mode", "leave it out, or export the network for inference")
    return lambda x, *_: x


def _reordered(parts: list[int], order: list[int], shape: list[int]) -> TorchKernel:
    return lambda x: x.reshape(parts).permute(order).reshape(shape)


def shape(ctx: NodeContext) -> TorchKernel:
    sizes = ctx.shape()[slice(ctx.get("start", 0), ctx.get("end"))]
    return lambda x: torch.tensor(sizes, dtype=torch.int64, device=x.device)


def size(ctx: NodeContext) -> TorchKernel:
    return lambda x: torch.tensor(x.numel(), device=x.device)


def constant(ctx: NodeContext) -> TorchKernel:
    (attribute,) = ctx.node.attribute
    if attribute.name in ("sparse_value", "value_string", "value_strings"):
        ctx.refuse(f"a Constant by {attribute.name}")
    value = _tensor(ctx.get(attribute.name))
    return lambda: value


def constant_of_shape(ctx: NodeContext) -> TorchKernel:
    value = ctx.get("value")
    sizes, fill = ctx.constant(0).tolist(), torch.tensor(0.0) if value is None else torch.from_numpy(value.copy())
    return lambda x: fill.reshape(()).expand(sizes).to(x.device).clone()


def arange(ctx: NodeContext) -> TorchKernel:
    start, limit, step = (ctx.constant(index).item() for index in range(3))
    kind = ctx.inputs[0].dtype
    return lambda x, *_: torch.arange(start, limit, step, dtype=kind, device=x.device)


def _tensor(value: Any) -> Tensor:
    """float32 and int64, as ONNX has it, unless it was a tensor."""
    return torch.from_numpy(value.copy()) if hasattr(value, "dtype") else torch.tensor(value)


BUILT = {
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Dropout": dropout,
    "Expand": expand,
    "Flatten": flatten,
    "Range": arange,
    "Reshape": reshape,
    "Shape": shape,
    "Size": size,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
