"""Removing channels from a graph, and the masked graph that it must equal.

A network whose units U are *masked* is the same network in which every weight that reads a channel of U in a sum over
channels (role "input": Conv, ConvTranspose, Gemm, MatMul) is zero for that channel. The values in the channel itself do
not matter, and need not be zero: a bias, a BatchNormalization or a Sigmoid may make them anything, as long as they are
finite. Every other operator that a channel passes works on each channel by itself, or has frozen it. So the outputs of
the network without U are those of the masked network, up to the order of the sums.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from ..weights import resolve
from .flow import KeptLabels
from .groups import Channels, Group
from .selection import Selection, stays, widen
from .slicing import Slicer


def remove(channels: Channels, kept: Selection, rewriter: Rewriter) -> dict[Group, np.ndarray]:
    """Remove all units but those in `kept` from the graph, in place; groups that are not named stay whole.

    Returns the units that stayed: `kept`, widened so that no tensor becomes empty. `channels` is used up by this.

    Raises:
        ValueError: a unit of a frozen group was to be removed.
    """
    keep = stays(channels, kept)
    _cut(channels, keep, rewriter)
    _redeclare(channels, keep)
    for update in channels.updates:
        if not keep(update.ids).all():
            update.apply(keep, rewriter)
    return widen(channels, kept)


def mask(channels: Channels, kept: Selection, rewriter: Rewriter) -> dict[Group, np.ndarray]:
    """Mask all units but those in `kept`, in place; arguments and result as for `remove`."""
    keep = stays(channels, kept)
    for slot in channels.slots:
        gone = ~keep(slot.ids)
        values = resolve(slot.node.inputs[slot.input]) if slot.role == "input" and gone.any() else None
        if values is not None:
            values = np.moveaxis(values.copy(), slot.axis, 0)
            values[gone] = 0
            rewriter.set_weight(slot.node, slot.input, np.moveaxis(values, 0, slot.axis))
    return widen(channels, kept)


def _cut(channels: Channels, keep: KeptLabels, rewriter: Rewriter) -> None:
    """Slice every constant, all its axes at once."""
    cuts: dict[tuple[int, int], tuple[gs.Node, dict[int, np.ndarray]]] = {}
    for slot in channels.slots:
        left = keep(slot.ids)
        if not left.all():
            cuts.setdefault((id(slot.node), slot.input), (slot.node, {}))[1][slot.axis] = left
    slicer = Slicer(rewriter)
    for (_, index), (node, by_axis) in cuts.items():
        slicer.cut(node, index, by_axis)
    slicer.finish()


def _redeclare(channels: Channels, keep: KeptLabels) -> None:
    """Declared shapes of tensors follow their channels."""
    written = {tensor.name: tensor for node in channels.graph.nodes for tensor in node.outputs}
    for name, labels in channels.tensors.items():
        tensor, left = written[name], keep(labels.ids)
        if left.all() or not isinstance(tensor, gs.Variable) or tensor.shape is None:
            continue
        tensor.shape = [int(left.sum()) if axis == labels.axis else dim for axis, dim in enumerate(tensor.shape)]
