"""Pooling of one to three spatial axes.

PyTorch pads both sides alike and by at most half a window. Everything else is padded first: with -inf for a maximum; an
average of padded inputs is divided by the average of a mask, 1 where an element counts, which is known beforehand.
"""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from math import inf

import torch

from .node_context import NodeContext, TorchKernel
from .windows import Windows, margins, windows

F = torch.nn.functional

AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def global_average_pool(ctx: NodeContext) -> TorchKernel:
    axes = list(range(2, ctx.rank()))
    return lambda x: x.mean(axes, keepdim=True)


def global_max_pool(ctx: NodeContext) -> TorchKernel:
    axes = list(range(2, ctx.rank()))
    return lambda x: x.amax(axes, keepdim=True)


def average_pool(ctx: NodeContext) -> TorchKernel:
    form, padded = windows(ctx, ctx.get("kernel_shape")), bool(ctx.get("count_include_pad", 0))
    function, kernel, strides, pads = AVERAGES[form.rank], form.kernel, form.strides, form.before
    if any(d != 1 for d in form.dilations):
        ctx.refuse("an average over dilated windows")
    if _native(form):
        return lambda x: function(x, kernel, strides, pads, False, padded)
    mask, extra = torch.ones_like(ctx.inputs[0][:1, :1]), form.margins()
    if padded:
        mask, extra = F.pad(mask, margins(form.before, form.after), value=1.0), margins([0] * form.rank, form.overhang)
    share = 1 / function(F.pad(mask, extra), kernel, strides)
    extra = form.margins()
    return lambda x: function(F.pad(x, extra), kernel, strides) * share


def max_pool(ctx: NodeContext) -> TorchKernel:
    ctx.only(1)
    form = windows(ctx, ctx.get("kernel_shape"))
    function, kernel, strides, dilations = MAXIMA[form.rank], form.kernel, form.strides, form.dilations
    pads, extra = form.before, form.margins()
    if _native(form):
        return lambda x: function(x, kernel, strides, pads, dilations)
    return lambda x: function(F.pad(x, extra, value=-inf), kernel, strides, 0, dilations)


def _native(form: Windows) -> bool:
    return form.even and all(2 * pad <= size for pad, size in zip(form.before, form.kernel, strict=True))


BUILT = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
}
