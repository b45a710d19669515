"""Products of matrices."""

# pyright: reportMissingModuleSource=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
from __future__ import annotations

import torch

from .node_context import NodeContext, Tensor, TorchKernel

PLAIN: dict[str, TorchKernel] = {"MatMul": torch.matmul}


def gemm(ctx: NodeContext) -> TorchKernel:
    """alpha A' B' + beta C; the form that networks have, x W^T + b, is one call."""
    alpha, beta = ctx.get("alpha", 1.0), ctx.get("beta", 1.0)
    across, turned = ctx.get("transA", 0), ctx.get("transB", 0)
    bare = not ctx.has(2)
    if alpha == 1 and not across and (bare or (beta == 1 and ctx.rank(2) == 1)):
        return _linear(turned)

    def kernel(a: Tensor, b: Tensor, c: Tensor = None) -> Tensor:
        y = alpha * ((a.t() if across else a) @ (b.t() if turned else b))
        return y if c is None else y + beta * c

    return kernel


def einsum(ctx: NodeContext) -> TorchKernel:
    equation = ctx.text("equation", "")
    return lambda *inputs: torch.einsum(equation, *inputs)


def _linear(turned: int) -> TorchKernel:
    linear = torch.nn.functional.linear
    return linear if turned else lambda x, w, b=None: linear(x, w.t(), b)


BUILT = {"Einsum": einsum, "Gemm": gemm}
