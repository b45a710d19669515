"""Conv and ConvTranspose of one to three spatial axes."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

import torch

from .node_context import NodeContext, Tensor, TorchKernel
from .windows import margins, windows

F = torch.nn.functional

CONVS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


def conv(ctx: NodeContext) -> TorchKernel:
    function, group = _ranked(ctx, CONVS), ctx.get("group", 1)
    form = windows(ctx, ctx.shape(1)[2:])
    strides, dilations, pads = form.strides, form.dilations, form.before
    if form.even:
        return lambda x, w, b=None: function(x, w, b, strides, pads, dilations, group)
    extra = form.margins()
    return lambda x, w, b=None: function(F.pad(x, extra), w, b, strides, 0, dilations, group)


def conv_transpose(ctx: NodeContext) -> TorchKernel:
    """The whole output (i - 1) s + (k - 1) d + 1, cropped by the pads; `output_padding` is cropped less.

    A negative crop adds zeros, so that the bias is added last.
    """
    function, group = _ranked(ctx, TRANSPOSED), ctx.get("group", 1)
    rank = ctx.rank() - 2
    strides, dilations = ctx.get("strides", [1] * rank), ctx.get("dilations", [1] * rank)
    before, after = _crops(ctx, rank, strides, dilations)
    if before == after:
        return lambda x, w, b=None: function(x, w, b, strides, before, 0, group, dilations)
    crops, column = margins([-v for v in before], [-v for v in after]), [-1] + [1] * rank

    def cropped(x: Tensor, w: Tensor, b: Tensor = None) -> Tensor:
        y = F.pad(function(x, w, None, strides, 0, 0, group, dilations), crops)
        return y if b is None else y + b.reshape(column)

    return cropped


def _crops(ctx: NodeContext, rank: int, strides: list[int], dilations: list[int]) -> tuple[list[int], list[int]]:
    extra = list(ctx.get("output_padding", [0] * rank))
    pads, mode, wanted = (
        list(ctx.get("pads", [0] * 2 * rank)),
        ctx.text("auto_pad", "NOTSET"),
        ctx.get("output_shape"),
    )
    if wanted is None and not mode.startswith("SAME"):
        pads = pads if mode == "NOTSET" else [0] * 2 * rank
        return pads[:rank], [pad - more for pad, more in zip(pads[rank:], extra, strict=True)]
    sizes, kernel = ctx.shape()[2:], ctx.shape(1)[2:]
    wanted = wanted or [n * s for n, s in zip(sizes, strides, strict=True)]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    whole = [(n - 1) * s + span + more for n, s, span, more in zip(sizes, strides, spans, extra, strict=True)]
    total = [full - size for full, size in zip(whole, wanted[-rank:], strict=True)]
    less = [v // 2 for v in total]
    more = [v - v // 2 for v in total]
    first, last = (less, more) if mode == "SAME_UPPER" else (more, less)
    return first, [v - e for v, e in zip(last, extra, strict=True)]


def _ranked(ctx: NodeContext, functions: dict[int, TorchKernel]) -> TorchKernel:
    rank = ctx.rank() - 2
    return functions[rank] if rank in functions else ctx.refuse(f"{rank} spatial axes; 1 to 3 are supported")


BUILT = {"Conv": conv, "ConvTranspose": conv_transpose}
