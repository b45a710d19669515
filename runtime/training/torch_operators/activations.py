"""Activations. Formulas: the ONNX operators of these names."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import Any

import torch

from .elementwise import clamp
from .node_context import NodeContext, Tensor, TorchKernel

F = torch.nn.functional

PLAIN: dict[str, TorchKernel] = {
    "HardSwish": F.hardswish,
    "Mish": F.mish,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Tanh": torch.tanh,
    "PRelu": lambda x, slope: torch.where(x >= 0, x, x * slope),
}


def leaky_relu(ctx: NodeContext) -> TorchKernel:
    slope = ctx.get("alpha", 0.01)
    return lambda x: F.leaky_relu(x, slope)


def hard_sigmoid(ctx: NodeContext) -> TorchKernel:
    slope, offset = ctx.get("alpha", 0.2), ctx.get("beta", 0.5)
    return lambda x: clamp(x * slope + offset, 0.0, 1.0)


def elu(ctx: NodeContext) -> TorchKernel:
    alpha = ctx.get("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


def selu(ctx: NodeContext) -> TorchKernel:
    alpha, gamma = ctx.get("alpha", 1.6732632423543772), ctx.get("gamma", 1.0507009873554805)
    return lambda x: gamma * F.elu(x, alpha)


def celu(ctx: NodeContext) -> TorchKernel:
    alpha = ctx.get("alpha", 1.0)
    return lambda x: F.celu(x, alpha)


def thresholded_relu(ctx: NodeContext) -> TorchKernel:
    alpha = ctx.get("alpha", 1.0)
    return lambda x: F.threshold(x, alpha, 0.0)


def gelu(ctx: NodeContext) -> TorchKernel:
    form = ctx.text("approximate", "none")
    return lambda x: F.gelu(x, approximate=form)


def softmax(ctx: NodeContext) -> TorchKernel:
    return _over_axis(ctx, torch.softmax)


def log_softmax(ctx: NodeContext) -> TorchKernel:
    return _over_axis(ctx, torch.log_softmax)


def _over_axis(ctx: NodeContext, function: Any) -> TorchKernel:
    """Up to opset 12 the axes from `axis` on are one, and `axis` is 1 by default; then it is one axis, the last."""
    if ctx.opset >= 13:
        axis = ctx.axis(-1)
        return lambda x: function(x, axis)
    axis, shape = ctx.axis(1), ctx.shape()

    def joint(x: Tensor) -> Tensor:
        return function(x.flatten(axis), axis).reshape(shape)

    return joint


BUILT = {
    "Celu": celu,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "Selu": selu,
    "Softmax": softmax,
    "ThresholdedRelu": thresholded_relu,
}
