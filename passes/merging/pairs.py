"""Two Convs in a row with nothing between them: one Conv, with the product of their kernels.

    a = A * x + b_A,  y = B * a + b_B        becomes        y = (B . A) * x + (B . b_A + b_B)

Along an axis, tap j of B and tap i of A together read, for the output at p,

    x[s_A s_B p + (s_A d_B j + d_A i) - (begin_A + s_A begin_B)]        s: strides, d: dilations

so that strides multiply, paddings add up, and (B . A)[t] is the sum of B[j] A[i] over all i and j with
s_A d_B j + d_A i = t. What B pads with zeros, A would have given something for: where B has a padding, A must be of a
single tap, without padding and without a bias. The groups of the one Conv are those that both have: their greatest
common divisor.

"ExpandNets" (Guo et al., NeurIPS 2020) and "Collapsible Linear Blocks" (Bhardwaj et al., MLSys 2022) train such pairs
to be made one; the last 1 x 1 Conv of an inverted residual (MobileNetV2, EfficientNet) and the first of the next are
one, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import gcd, prod

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import ConvWorkload, conv_workload
from ...compiler.graph.convs import Conv
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from .windows import Window, conv_attributes, windows_of

TYPES = "their weights are stored in different types"
PADDED = "'{}' pads with zeros what '{}' would give other values for"
SIZES = "the padding of '{}' depends on the size of its input"


@dataclass(frozen=True, eq=False)
class ConvPair:
    """A Conv, and the one that alone reads it."""

    first: Conv
    second: Conv
    windows: tuple[Window, ...]
    inner: tuple[tuple[Window, ...], tuple[Window, ...]]

    @staticmethod
    def of(first: Conv, second: Conv) -> ConvPair | str:
        """A reason where they cannot be one."""
        if first.dtype != second.dtype:
            return TYPES
        inner: list[tuple[Window, ...]] = []
        for conv in (first, second):
            found = windows_of(conv)
            if found is None:
                return SIZES.format(conv.name)
            inner.append(found)
        axes = list(zip(*inner, first.strides, strict=True))
        if any(not _is_exact(one, other, first.bias is not None) for one, other, _ in axes):
            return PADDED.format(second.name, first.name)
        windows = tuple(_joint(one, other, stride) for one, other, stride in axes)
        return ConvPair(first, second, windows, (inner[0], inner[1]))

    @property
    def group(self) -> int:
        return gcd(self.first.group, self.second.group)

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(a * b for a, b in zip(self.first.strides, self.second.strides, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight, (N, C/g, k...)."""
        sizes = tuple(window.size for window in self.windows)
        return self.second.filters, self.first.channels // self.group, *sizes

    @property
    def size(self) -> int:
        """Of the weight."""
        return prod(self.shape)

    def workload(self, shapes: Shapes) -> ConvWorkload:
        one, other = (conv_workload(conv, shapes) for conv in (self.first, self.second))
        kernel = tuple(window.size for window in self.windows)
        return replace(
            other, channels_in=one.channels_in, positions_in=one.positions_in, kernel=kernel, group=self.group
        )

    def weight(self) -> np.ndarray:
        """(N, C/g, k...), float64."""
        one, other = (_in_groups(conv, self.group) for conv in (self.first, self.second))
        total = np.zeros((self.group, self.shape[0] // self.group, *self.shape[1:]))
        for i, j in product(np.ndindex(*self.first.kernel), np.ndindex(*self.second.kernel)):
            total[(slice(None), slice(None), slice(None), *self._place(i, j))] += other[(..., *j)] @ one[(..., *i)]
        return total.reshape(self.shape)

    def bias(self) -> np.ndarray | None:
        """(N,), float64; None where neither has one."""
        if self.first.bias is None:
            return self.second.bias
        taps = _in_groups(self.second, self.group).sum(axis=tuple(range(3, 3 + len(self.windows))))
        inner = self.first.bias.astype(np.float64).reshape(self.group, -1, 1)
        outer = 0.0 if self.second.bias is None else self.second.bias
        return (taps @ inner).reshape(-1) + outer

    def write(self, rewriter: Rewriter) -> None:
        """Into the graph of `rewriter`, which is its own or a copy."""
        self._put(rewriter, self.weight().astype(self.first.dtype), self.bias())

    def outline(self, rewriter: Rewriter) -> None:
        """The same without the numbers: what it takes does not depend on them."""
        bias = None if self.first.bias is None and self.second.bias is None else np.zeros(self.second.filters)
        self._put(rewriter, np.zeros(self.shape, self.first.dtype), bias)

    def _put(self, rewriter: Rewriter, weight: np.ndarray, bias: np.ndarray | None) -> None:
        nodes: Mapping[str, gs.Node] = {node.name: node for node in rewriter.graph.nodes}
        first, second = nodes[self.first.name], nodes[self.second.name]
        name = f"{second.name}.collapsed"
        inputs = [first.inputs[0], rewriter.constant(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(rewriter.constant(f"{name}.bias", bias.astype(weight.dtype)))
        attrs = conv_attributes(self.windows, self.strides, self.group)
        rewriter.replace(second, [rewriter.node("Conv", inputs, [], name, attrs, origin=second.name)])
        rewriter.remove(first)

    def _place(self, i: Sequence[int], j: Sequence[int]) -> Iterator[int]:
        """The tap of the one Conv that taps i and j of the two make."""
        axes = zip(i, j, *self.inner, self.windows, self.first.strides, strict=True)
        for one, other, inner, outer, window, stride in axes:
            yield (inner.dilation * one + stride * outer.dilation * other) // window.dilation


def _is_exact(one: Window, other: Window, biased: bool) -> bool:
    """Whether what the second pads with is what the first would give."""
    if not (other.begin or other.end):
        return True
    return one.size == 1 and not (one.begin or one.end) and not biased


def _joint(one: Window, other: Window, stride: int) -> Window:
    """Along one axis."""
    reach = one.dilation * (one.size - 1) + stride * other.dilation * (other.size - 1)
    steps = [window.dilation * scale for window, scale in ((one, 1), (other, stride)) if window.size > 1]
    dilation = gcd(*steps) or 1
    return Window(reach // dilation + 1, dilation, one.begin + stride * other.begin, one.end + stride * other.end)


def _in_groups(conv: Conv, group: int) -> np.ndarray:
    """The weight with fewer groups, (g, N/g, C/g, k...), float64."""
    kernel, per = conv.kernel, conv.group // group
    weight = conv.weight.astype(np.float64).reshape(group, per, -1, conv.weight.shape[1], *kernel)
    dense = np.zeros((group, per, weight.shape[2], per, *weight.shape[3:]))
    every = np.arange(per)
    dense[:, every, :, every] = np.moveaxis(weight, 1, 0)
    return dense.reshape(group, per * weight.shape[2], per * weight.shape[3], *kernel)
