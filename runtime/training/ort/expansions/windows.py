"""Operators with windows.

`auto_pad` becomes `pads`: the gradients do not look at it.

A transposed Conv of stride s is a Conv of its input with s - 1 zeros after every element, by the flipped kernel. With
k taps at a distance of d, and the pads p that the transposed Conv takes away, that input is padded by d (k - 1) - p,
and at the end by the output padding less the last s - 1 zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .formula import Expansion, ExpansionContext, Term


def _explicit(ctx: ExpansionContext) -> None:
    """Rewrite `auto_pad` in place."""
    mode, attrs = ctx.get("auto_pad", "NOTSET"), ctx.node.attrs
    attrs.pop("auto_pad", None)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        sizes = ctx.x.shape[2:]
        kernel, strides, dilations = _window(ctx)
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
        missing = [max((-(-n // s) - 1) * s + w - n, 0) for n, s, w in zip(sizes, strides, spans, strict=True)]
        attrs["pads"] = _shares(missing, upper=mode == "SAME_UPPER")


def _window(ctx: ExpansionContext) -> tuple[list[int], list[int], list[int]]:
    """Kernel, strides and dilations."""
    kernel = ctx.get("kernel_shape") or ctx.term(1).shape[2:]
    ones = [1] * len(kernel)
    return kernel, ctx.get("strides") or ones, ctx.get("dilations") or ones


def _shares(totals: Sequence[int], upper: bool) -> list[int]:
    """Half before, half after; an odd one goes after if `upper`."""
    small, large = [total // 2 for total in totals], [-(-total // 2) for total in totals]
    return [*small, *large] if upper else [*large, *small]


def _global_max(ctx: ExpansionContext) -> Term:
    return ctx.x.apply("MaxPool", kernel_shape=ctx.x.shape[2:])


def _conv_transpose(ctx: ExpansionContext) -> Term:
    kernel, strides, dilations = _window(ctx)
    rank = len(kernel)
    pads, extra = _taken(ctx), ctx.get("output_padding") or [0] * rank
    reach = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    before = [r - p for r, p in zip(reach, pads[:rank], strict=True)]
    after = [r - p + e - (s - 1) for r, p, e, s in zip(reach, pads[rank:], extra, strides, strict=True)]
    padded = _stuffed(ctx, strides).apply("Pad", [0, 0, *before, 0, 0, *after])
    bias = [ctx.term(2)] if ctx.has(2) else []
    return padded.apply("Conv", _flipped(ctx), *bias, group=ctx.get("group", 1), dilations=dilations)


def _taken(ctx: ExpansionContext) -> list[int]:
    """Elements that are taken away before and after, by spatial axis."""
    mode = ctx.get("auto_pad", "NOTSET")
    kernel, strides, dilations = _window(ctx)
    if mode not in ("SAME_UPPER", "SAME_LOWER") and not ctx.get("output_shape"):
        return (ctx.get("pads") if mode == "NOTSET" else None) or [0] * 2 * len(kernel)
    extra = ctx.get("output_padding") or [0] * len(kernel)
    full = [
        s * (n - 1) + e + d * (k - 1) + 1
        for s, n, e, d, k in zip(strides, ctx.x.shape[2:], extra, dilations, kernel, strict=True)
    ]
    missing = [have - want for have, want in zip(full, ctx.result[2:], strict=True)]
    return _shares(missing, upper=mode == "SAME_UPPER")


def _stuffed(ctx: ExpansionContext, strides: Sequence[int]) -> Term:
    """The input with stride - 1 zeros after every element."""
    if all(stride == 1 for stride in strides):
        return ctx.x
    batch, channels, *sizes = ctx.x.shape
    single = ctx.x.reshape([batch, channels, *(dim for size in sizes for dim in (size, 1))])
    ends = [dim for stride in strides for dim in (0, stride - 1)]
    zeros = single.apply("Pad", [0] * (4 + len(ends)) + ends)
    return zeros.reshape([batch, channels, *(n * s for n, s in zip(sizes, strides, strict=True))])


def _flipped(ctx: ExpansionContext) -> Term:
    """The weight of the Conv: (C, M/G, k) as (M, C/G, k), the taps in reverse."""
    weight, groups = ctx.term(1), ctx.get("group", 1)
    channels, filters, *kernel = weight.shape
    split = weight.reshape([groups, channels // groups, filters, *kernel])
    turned = split.transpose([0, 2, 1, *range(3, 3 + len(kernel))])
    turned = turned.reshape([groups * filters, channels // groups, *kernel])
    for axis, taps in enumerate(kernel, start=2):
        turned = turned.pick(axis, np.arange(taps)[::-1]) if taps > 1 else turned
    return turned


WINDOWS: dict[str, Expansion] = {
    "Conv": _explicit,
    "AveragePool": _explicit,
    "MaxPool": _explicit,
    "GlobalMaxPool": _global_max,
    "ConvTranspose": _conv_transpose,
}
