"""Sliding windows: where they start, and how much padding that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .node_context import NodeContext


@dataclass(frozen=True)
class Windows:
    """The windows of a Conv or a pooling over the last `rank` axes.

    Attributes:
        kernel, strides, dilations: per axis.
        before, after: padding per axis.
        overhang: what windows reach beyond the padding, with `ceil_mode`.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    overhang: list[int]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def even(self) -> bool:
        """PyTorch's own padding will do: the same on both sides, nothing beyond."""
        return self.before == self.after and not any(self.overhang)

    def margins(self) -> list[int]:
        """Padding and overhang in the order of torch.nn.functional.pad: last axis first."""
        ends = [after + over for after, over in zip(self.after, self.overhang, strict=True)]
        return margins(self.before, ends)


def margins(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Pads in the order of torch.nn.functional.pad: last axis first, before and after alternating."""
    return [pad for pair in zip(reversed(before), reversed(after), strict=True) for pad in pair]


def windows(ctx: NodeContext, kernel: Sequence[int]) -> Windows:
    """The node's windows, with `auto_pad` worked out from the input's shape."""
    rank, sizes = len(kernel), ctx.shape()[2:]
    strides, dilations = list(ctx.get("strides", [1] * rank)), list(ctx.get("dilations", [1] * rank))
    pads, mode = list(ctx.get("pads", [0] * 2 * rank)), ctx.text("auto_pad", "NOTSET")
    before, after = pads[:rank], pads[rank:]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if mode == "VALID":
        before, after = [0] * rank, [0] * rank
    if mode.startswith("SAME"):
        lack = [max(_same(n, s) + k - n, 0) for n, s, k in zip(sizes, strides, spans, strict=True)]
        less, more = [v // 2 for v in lack], [v - v // 2 for v in lack]
        before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
    overhang = [0] * rank
    if ctx.get("ceil_mode", 0):
        overhang = [_overhang(*axis) for axis in zip(sizes, before, after, spans, strides, strict=True)]
    return Windows(list(kernel), strides, dilations, before, after, overhang)


def _same(size: int, stride: int) -> int:
    """Where the last window starts so that there are ceil(size / stride)."""
    return ((size + stride - 1) // stride - 1) * stride


def _overhang(size: int, before: int, after: int, span: int, stride: int) -> int:
    """A last, incomplete window counts unless it starts beyond input and left padding."""
    padded = size + before + after
    count = -(-(padded - span) // stride) + 1
    if (count - 1) * stride >= size + before:
        count -= 1
    return max((count - 1) * stride + span - padded, 0)
