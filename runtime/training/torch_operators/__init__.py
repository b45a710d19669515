"""ONNX operators, opsets 11 to 18, as PyTorch functions; those of inference networks up to opset 11 too where easy.

A theme has two tables. PLAIN: the function is the operator, whatever its attributes. BUILT: the node decides; a builder
takes its `NodeContext` and gives the function. Every function takes the node's inputs, those known beforehand included.
"""

from __future__ import annotations

from . import (
    activations,
    convolutions,
    elementwise,
    indexing,
    losses,
    matrices,
    normalization,
    pooling,
    quantization,
    reductions,
    resizing,
    shapes,
)
from .node_context import NodeContext, Tensor, TorchKernel, place

PLAIN: dict[str, TorchKernel] = {**elementwise.PLAIN, **activations.PLAIN, **matrices.PLAIN}
BUILT = {
    **elementwise.BUILT,
    **activations.BUILT,
    **convolutions.BUILT,
    **pooling.BUILT,
    **normalization.BUILT,
    **matrices.BUILT,
    **shapes.BUILT,
    **indexing.BUILT,
    **reductions.BUILT,
    **resizing.BUILT,
    **quantization.BUILT,
    **losses.BUILT,
}

__all__ = ["NodeContext", "Tensor", "TorchKernel", "kernel", "place"]


def kernel(ctx: NodeContext) -> TorchKernel:
    """The function of a node.

    Raises:
        CompressError: no such operator here, or not in this form.
    """
    name, domain = ctx.node.op_type, ctx.node.domain
    if domain not in ("", "ai.onnx"):
        ctx.refuse(f"operator {name} of domain {domain} has no gradient in the engine torch")
    if name in PLAIN:
        return PLAIN[name]
    if name in BUILT:
        return BUILT[name](ctx)
    return ctx.refuse(f"operator {name} is not in the engine torch")
