"""Convs whose filters are templates scaled tap by tap, W[n, g, c, k] = B[g, m(n), c, k] T[n, g, k], in the graph.

    stock    1 x 1 Conv: the maps Z[g, m, k] = sum_c B[g, m, c, k] x[g, c], at input resolution, G groups
             [G > 1: Gather(axis 1) to the order m, g, k]
             depthwise Conv, one tap each: Z[m, g, k] is moved by its tap, with stride, pads and dilation of the Conv
             1 x 1 Conv: T and the bias, M groups of equal size (padded where M does not divide N)
             [filters not in this order: Gather(axis 1)]
    dense    Gather(B, m) * T is the weight of the Conv itself: codes are stored, nothing is saved in time
    plugin   one SpatialBasisConv (`operators`), for an engine that has the kernel of `runtime/tensorrt/plugin`

All maps are zero where the padding is zero, as the first Conv has no bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..convs import Conv
from ..rewriter import Rewriter
from .operators import DOMAIN, PLUGIN, SPATIAL_BASIS_CONV, declare
from .packed import NodeChain


@dataclass(frozen=True, eq=False)
class TemplateParts:
    """basis (G, M, C/G, K), transforms (N, G, K) and choice (N,) as in the module docstring."""

    basis: np.ndarray
    transforms: np.ndarray
    choice: np.ndarray


def write_stock(rewriter: Rewriter, conv: Conv, parts: TemplateParts, bias: np.ndarray) -> None:
    """Put the three Convs in the place of `conv`."""
    chain = _Convs(rewriter, conv)
    groups, count, channels, taps = parts.basis.shape
    maps = parts.basis.transpose(0, 1, 3, 2).reshape(-1, channels)
    chain.pointwise("templates", maps, groups)
    if groups > 1:
        chain.pick("order", np.arange(len(maps)).reshape(groups, count, taps).swapaxes(0, 1).ravel())
    one_hot = np.eye(taps).reshape(taps, 1, *conv.kernel)
    attrs = {
        key: conv.node.attrs[key] for key in ("strides", "dilations", "pads", "auto_pad") if key in conv.node.attrs
    }
    chain.conv("taps", np.tile(one_hot, (count * groups, *[1] * (1 + len(conv.kernel)))), len(maps), attrs)
    slots = slots_of(parts.choice, count)
    share = -(-len(slots) // count)
    transforms = np.zeros((count * share, groups * taps))
    transforms[slots] = parts.transforms.reshape(len(slots), -1)
    shifted = np.zeros(len(transforms))
    shifted[slots] = bias
    chain.pointwise("transforms", transforms, count, shifted)
    if not np.array_equal(slots, np.arange(len(transforms))):
        chain.pick("filters", slots)
    chain.place()


def slots_of(choice: np.ndarray, count: int) -> np.ndarray:
    """The place of every filter (N,) where the filters of a template stand together in `count` groups of equal size."""
    share = -(-len(choice) // count)
    slots = np.empty(len(choice), np.int64)
    for template in range(count):
        members = np.flatnonzero(choice == template)
        slots[members] = template * share + np.arange(len(members))
    return slots


def write_dense(rewriter: Rewriter, conv: Conv, parts: TemplateParts, bias: np.ndarray) -> None:
    """Make the weight of `conv` a product that is computed in the graph."""
    groups, count, channels, taps = parts.basis.shape
    chain = NodeChain(rewriter, conv.node)

    def constant(values: np.ndarray) -> gs.Constant:
        return rewriter.constant("w", values)

    basis = parts.basis.swapaxes(0, 1).reshape(count, groups * channels, *conv.kernel).astype(conv.dtype)
    choice: gs.Tensor = constant(parts.choice.astype(np.uint8 if count <= 256 else np.int32))
    if count <= 256:
        choice = chain.add("Cast", choice, to=onnx.TensorProto.INT32)
    tensor = chain.add("Gather", constant(basis), choice, axis=0)
    transforms = parts.transforms.astype(conv.dtype)
    if groups == 1:
        tensor = chain.add("Mul", tensor, constant(transforms.reshape(-1, 1, *conv.kernel)))
    else:
        split = constant(np.array([len(parts.choice), groups, channels, taps]))
        tensor = chain.add("Mul", chain.add("Reshape", tensor, split), constant(transforms[:, :, None]))
        tensor = chain.add("Reshape", tensor, constant(np.array(conv.weight.shape)))
    chain.place(1, tensor)
    rewriter.set_weight(conv.node, 2, bias.astype(conv.dtype))


def write_plugin(rewriter: Rewriter, conv: Conv, parts: TemplateParts, bias: np.ndarray) -> None:
    """Put one SpatialBasisConv in the place of `conv`, whose pads must be stated (no auto_pad SAME)."""
    groups, count, channels = parts.basis.shape[:3]
    values = {
        "basis": parts.basis.swapaxes(0, 1).reshape(count, conv.channels, *conv.kernel).astype(conv.dtype),
        "transforms": parts.transforms.reshape(conv.filters, groups, *conv.kernel).astype(conv.dtype),
        "choice": parts.choice.astype(np.int32),
        "bias": bias.astype(conv.dtype),
    }
    inputs = [rewriter.constant(f"{conv.name}.{part}", array) for part, array in values.items()]
    pads = [int(pad) for pad in np.array(conv.pads(())).T.ravel()]
    attrs: dict[str, Any] = {"strides": list(conv.strides), "pads": pads, "dilations": list(conv.dilations)}
    of_channel = [channel // channels for channel in range(conv.channels)]
    attrs |= {"kernel_shape": list(conv.kernel), "channel_groups": of_channel, **PLUGIN}
    base = f"{conv.name}.templates"
    node = rewriter.node(SPATIAL_BASIS_CONV, [conv.input, *inputs], [], base, attrs, origin=conv.name)
    node.domain = DOMAIN
    rewriter.replace(conv.node, [node])
    declare(rewriter.graph)


class _Convs:
    """A chain of nodes that replaces a Conv."""

    def __init__(self, rewriter: Rewriter, conv: Conv):
        self._rewriter, self._old = rewriter, conv
        self._nodes: list[gs.Node] = []
        self._tensor = conv.input

    def conv(
        self, part: str, weight: np.ndarray, group: int, attrs: dict[str, Any], bias: np.ndarray | None = None
    ) -> None:
        base = f"{self._old.name}.{part}"
        inputs = [self._rewriter.constant(f"{base}.weight", weight.astype(self._old.dtype))]
        if bias is not None:
            inputs.append(self._rewriter.constant(f"{base}.bias", bias.astype(self._old.dtype)))
        self._add("Conv", base, inputs, {"kernel_shape": list(weight.shape[2:]), "group": group, **attrs})

    def pointwise(self, part: str, weight: np.ndarray, group: int, bias: np.ndarray | None = None) -> None:
        self.conv(part, weight.reshape(*weight.shape, *[1] * len(self._old.kernel)), group, {}, bias)

    def pick(self, part: str, channels: np.ndarray) -> None:
        base = f"{self._old.name}.{part}"
        self._add("Gather", base, [self._rewriter.constant(f"{base}.indices", channels)], {"axis": 1})

    def place(self) -> None:
        self._rewriter.replace(self._old.node, self._nodes)

    def _add(self, op: str, base: str, inputs: list[gs.Constant], attrs: dict[str, Any]) -> None:
        result = self._rewriter.variable(f"{base}.output", self._old.output.dtype)
        node = self._rewriter.node(op, [self._tensor, *inputs], [result], base, attrs, origin=self._old.name)
        self._nodes.append(node)
        self._tensor = result
