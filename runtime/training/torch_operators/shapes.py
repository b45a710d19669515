"""The same elements in another shape or order. Shapes are fixed: what they depend on is known when a node is built."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from math import prod
from typing import Any

import torch

from .node_context import Kernel, NodeContext, Tensor


def reshape(site: NodeContext) -> Kernel:
    """0 keeps the size of that axis, unless `allowzero`."""
    sizes, keep = site.constant(1).tolist(), not site.get("allowzero", 0)
    shape = [site.shape()[axis] if size == 0 and keep else size for axis, size in enumerate(sizes)]
    return lambda x, _: x.reshape(shape)


def flatten(site: NodeContext) -> Kernel:
    axis, sizes = site.get("axis", 1), site.shape()
    shape = [prod(sizes[:axis]), prod(sizes[axis:])]
    return lambda x: x.reshape(shape)


def transpose(site: NodeContext) -> Kernel:
    order = site.get("perm", list(reversed(range(site.rank()))))
    return lambda x: x.permute(order)


def squeeze(site: NodeContext) -> Kernel:
    axes = site.setting("axes", 1)
    axes = [axis for axis, size in enumerate(site.shape()) if size == 1] if axes is None else axes
    gone = {axis % max(site.rank(), 1) for axis in axes}
    shape = [size for axis, size in enumerate(site.shape()) if axis not in gone]
    return lambda x, *_: x.reshape(shape)


def unsqueeze(site: NodeContext) -> Kernel:
    axes = site.setting("axes", 1)
    rank, sizes = site.rank() + len(axes), iter(site.shape())
    new = {axis % rank for axis in axes}
    shape = [1 if axis in new else next(sizes) for axis in range(rank)]
    return lambda x, *_: x.reshape(shape)


def expand(site: NodeContext) -> Kernel:
    shape = torch.broadcast_shapes(site.shape(), site.constant(1).tolist())
    return lambda x, _: x.expand(shape)


def tile(site: NodeContext) -> Kernel:
    repeats = site.constant(1).tolist()
    return lambda x, _: x.repeat(repeats)


def concat(site: NodeContext) -> Kernel:
    axis = site.axis()
    return lambda *inputs: torch.cat(inputs, axis)


def split(site: NodeContext) -> Kernel:
    """Sizes are given, or follow from the number of outputs: the last part may be smaller."""
    axis, size, parts = site.axis(), site.shape()[site.axis()], len(site.node.output)
    sizes = site.setting("split", 1) or -(-size // (site.get("num_outputs") or parts))
    return lambda x, *_: torch.split(x, sizes, axis)


def depth_to_space(site: NodeContext) -> Kernel:
    """DCR: channels are (block, block, depth); CRD: (depth, block, block)."""
    b, (n, c, h, w) = site.get("blocksize"), site.shape()
    depth = c // (b * b)
    if site.text("mode", "DCR") == "DCR":
        return _reordered([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2], [n, depth, h * b, w * b])
    return _reordered([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3], [n, depth, h * b, w * b])


def space_to_depth(site: NodeContext) -> Kernel:
    b, (n, c, h, w) = site.get("blocksize"), site.shape()
    return _reordered([n, c, h // b, b, w // b, b], [0, 3, 5, 1, 2, 4], [n, c * b * b, h // b, w // b])


def dropout(site: NodeContext) -> Kernel:
    """As in inference."""
    site.only(1)
    if site.has(2) and site.constant(2):
        site.refuse("Dropout in training mode", "leave it out, or export the network for inference")
    return lambda x, *_: x


def _reordered(parts: list[int], order: list[int], shape: list[int]) -> Kernel:
    return lambda x: x.reshape(parts).permute(order).reshape(shape)


def shape(site: NodeContext) -> Kernel:
    sizes = site.shape()[slice(site.get("start", 0), site.get("end"))]
    return lambda x: torch.tensor(sizes, dtype=torch.int64, device=x.device)


def size(site: NodeContext) -> Kernel:
    return lambda x: torch.tensor(x.numel(), device=x.device)


def constant(site: NodeContext) -> Kernel:
    (attribute,) = site.node.attribute
    if attribute.name in ("sparse_value", "value_string", "value_strings"):
        site.refuse(f"a Constant by {attribute.name}")
    value = _tensor(site.get(attribute.name))
    return lambda: value


def constant_of_shape(site: NodeContext) -> Kernel:
    value = site.get("value")
    sizes, fill = site.constant(0).tolist(), torch.tensor(0.0) if value is None else torch.from_numpy(value.copy())
    return lambda x: fill.reshape(()).expand(sizes).to(x.device).clone()


def arange(site: NodeContext) -> Kernel:
    start, limit, step = (site.constant(index).item() for index in range(3))
    kind = site.inputs[0].dtype
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
