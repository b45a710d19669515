"""Losses that ONNX has as operators: class scores (N, C, ...) against class indices (N, ...)."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

import torch

from .node_context import NodeContext, TorchKernel

F = torch.nn.functional
IGNORE = -(2**31)


def cross_entropy(ctx: NodeContext) -> TorchKernel:
    ctx.only(1)
    reduction, ignore = ctx.text("reduction", "mean"), ctx.get("ignore_index", IGNORE)
    return lambda x, target, weight=None: F.cross_entropy(
        x, target.long(), weight, ignore_index=ignore, reduction=reduction
    )


def negative_log_likelihood(ctx: NodeContext) -> TorchKernel:
    reduction, ignore = ctx.text("reduction", "mean"), ctx.get("ignore_index", IGNORE)
    return lambda x, target, weight=None: F.nll_loss(x, target.long(), weight, ignore_index=ignore, reduction=reduction)


BUILT = {"NegativeLogLikelihoodLoss": negative_log_likelihood, "SoftmaxCrossEntropyLoss": cross_entropy}
