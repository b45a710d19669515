"""Operators that change the axes of a tensor.

A reshape keeps the order of the elements, so it is exact to remove elements before and after it, as long as both
tensors stay rectangular. The elements of the block of axes that the channel axis is merged with or split into

1. differ along one new axis: this axis carries the labels on (Flatten into a Gemm repeats each of them H * W times);
2. differ along several: the labels are tied along all of them but the longest. In a channel shuffle, (C) -> (g, C/g),
   the channels at the same position of every group live or die together;
3. end up on the batch axis: they stay.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from ..flow import Flow, Labels, title
from .sizes import follow_count
from .table import rule

Shape = tuple[int, ...]


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(node: gs.Node, flow: Flow) -> None:
    labels, before = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    after = flow.shape(node.outputs[0])
    known = before is not None and after is not None and prod(before) == prod(after)
    moved = None
    if labels is not None and known and not node.attrs.get("allowzero", 0):
        moved = _carry(node, flow, labels, before or (), after or ())
    if node.op == "Reshape":
        follow_count(node, 1, moved.axis if moved else None, moved.ids if moved else np.array([]), flow)
    if moved is None:
        return flow.stop(node, "moves channels to the batch axis, or its shapes are unknown")
    return flow.set_labels(node.outputs[0], moved.axis, moved.ids)


def _carry(node: gs.Node, flow: Flow, labels: Labels, before: Shape, after: Shape) -> Labels | None:
    """The labels after the reshape; None by rule 3."""
    old, new = _block(before, after, labels.axis)
    grid = np.broadcast_to(
        _column(labels.ids, labels.axis - old.start, old.stop - old.start), before[old.start : old.stop]
    )
    grid = grid.reshape(after[new.start : new.stop])
    axes = [axis for axis in range(grid.ndim) if (grid != grid.take([0], axis)).any()]
    if not axes:
        return None
    longest = max(axes, key=lambda axis: grid.shape[axis])
    for axis in set(range(grid.ndim)) - set(axes):
        grid = grid.take([0], axis)
    rows = np.moveaxis(grid, longest, -1).reshape(-1, grid.shape[longest])
    ids = flow.tie_rows(rows, f"{title(node)} ties channels that it puts in one column")
    return Labels(new.start + longest, ids) if new.start + longest > 0 else None


def _column(ids: np.ndarray, axis: int, rank: int) -> np.ndarray:
    return ids.reshape([-1 if i == axis else 1 for i in range(rank)])


def _block(before: Shape, after: Shape, axis: int) -> tuple[range, range]:
    """The smallest runs of axes with the same number of elements, the first around `axis`."""
    i = j = 0
    while True:
        old, new = i, j
        left, right, i, j = before[i], after[j], i + 1, j + 1
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        if old <= axis < i:
            return range(old, i), range(new, j)


@rule("Transpose")
def transpose(node: gs.Node, flow: Flow) -> None:
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    if labels is None or shape is None:
        return flow.stop(node, "has an input of unknown shape")
    perm: list[int] = list(node.attrs.get("perm") or reversed(range(len(shape))))
    return flow.set_labels(node.outputs[0], perm.index(labels.axis), labels.ids)


@rule("Expand")
def expand(node: gs.Node, flow: Flow) -> None:
    """Aligned at the end; an entry of 1 leaves the channels as they are."""
    labels, before = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    after = flow.shape(node.outputs[0])
    target = flow.shape(node.inputs[1])
    if labels is None or before is None or after is None or target is None:
        follow_count(node, 1, None, np.array([]), flow)
        return flow.stop(node, "has an unknown shape")
    axis = labels.axis + len(after) - len(before)
    position = axis - len(after) + target[0]
    values = flow.constant(node.inputs[1])
    single = position < 0 or (values is not None and values[position] == 1)
    follow_count(node, 1, None if single else position, labels.ids, flow)
    return flow.set_labels(node.outputs[0], axis, labels.ids)


@rule("DepthToSpace")
def depth_to_space(node: gs.Node, flow: Flow) -> None:
    """The b * b channels that become one live or die together."""
    labels = flow.of(node.inputs[0])
    if labels is None or labels.axis != 1:
        return flow.stop(node, "does not find channels along axis 1")
    block = node.attrs["blocksize"] ** 2
    depth_first = node.attrs.get("mode", "DCR") == "DCR"
    rows = labels.ids.reshape(block, -1) if depth_first else labels.ids.reshape(-1, block).T
    return flow.set_labels(node.outputs[0], 1, flow.tie_rows(rows, f"{title(node)} ties the channels that become one"))


@rule("SpaceToDepth")
def space_to_depth(node: gs.Node, flow: Flow) -> None:
    labels = flow.of(node.inputs[0])
    if labels is None or labels.axis != 1:
        return flow.stop(node, "does not find channels along axis 1")
    return flow.set_labels(node.outputs[0], 1, np.tile(labels.ids, node.attrs["blocksize"] ** 2))
