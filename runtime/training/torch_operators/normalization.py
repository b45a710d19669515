"""Normalizations, as they are in inference."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

import torch

from .node_context import NodeContext, Tensor, TorchKernel

F = torch.nn.functional


def batch_normalization(ctx: NodeContext) -> TorchKernel:
    """Statistics that are known take PyTorch's kernel, which does not differentiate them."""
    if ctx.get("training_mode", 0):
        ctx.refuse("statistics of the batch", "export the network for inference")
    ctx.only(1)
    epsilon = ctx.get("epsilon", 1e-5)
    if ctx.known[3] and ctx.known[4]:
        return lambda x, scale, bias, mean, var: torch.batch_norm(
            x, scale, bias, mean, var, False, 0.0, epsilon, torch.backends.cudnn.enabled
        )
    column = [-1] + [1] * (ctx.rank() - 2)

    def formula(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        factor = scale * torch.rsqrt(var + epsilon)
        return x * factor.reshape(column) + (bias - mean * factor).reshape(column)

    return formula


def instance_normalization(ctx: NodeContext) -> TorchKernel:
    epsilon, channels = ctx.get("epsilon", 1e-5), ctx.shape()[1]
    return lambda x, scale, bias: torch.group_norm(x, channels, scale, bias, epsilon)


def group_normalization(ctx: NodeContext) -> TorchKernel:
    """One scale and bias per group up to opset 20, per channel from 21 on."""
    epsilon, groups = ctx.get("epsilon", 1e-5), ctx.get("num_groups")
    each = ctx.shape()[1] // ctx.shape(1)[0]
    return lambda x, scale, bias: torch.group_norm(
        x, groups, scale.repeat_interleave(each), bias.repeat_interleave(each), epsilon
    )


def layer_normalization(ctx: NodeContext) -> TorchKernel:
    ctx.only(1)
    epsilon, shape = ctx.get("epsilon", 1e-5), ctx.shape()[ctx.axis(-1) :]
    if ctx.shape(1) == shape and (not ctx.has(2) or ctx.shape(2) == shape):
        return lambda x, scale, bias=None: torch.layer_norm(x, shape, scale, bias, epsilon)

    def broadcast(x: Tensor, scale: Tensor, bias: Tensor = None) -> Tensor:
        y = torch.layer_norm(x, shape, None, None, epsilon) * scale
        return y if bias is None else y + bias

    return broadcast


def lp_normalization(ctx: NodeContext) -> TorchKernel:
    axis, order = ctx.axis(-1), ctx.get("p", 2)
    return lambda x: F.normalize(x, order, axis)


def lrn(ctx: NodeContext) -> TorchKernel:
    """x / (bias + alpha / size * sum of squares over `size` channels)^beta; an even window reaches further down."""
    size, alpha = ctx.get("size"), ctx.get("alpha", 1e-4)
    beta, bias = ctx.get("beta", 0.75), ctx.get("bias", 1.0)
    margins = [0, 0, (size - 1) // 2, size // 2]

    def kernel(x: Tensor) -> Tensor:
        squares = F.pad((x * x).flatten(2).unsqueeze(1), margins)
        means = F.avg_pool2d(squares, (size, 1), 1).squeeze(1).reshape(x.shape)
        return x / (bias + alpha * means) ** beta

    return kernel


BUILT = {
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
    "LayerNormalization": layer_normalization,
    "LpNormalization": lp_normalization,
}
