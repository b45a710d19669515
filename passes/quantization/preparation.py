"""What Q/DQ pairs want of the network: opset 13 for scales per channel, and float32."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...compiler.graph.half_precision import is_half, obstacle, to_single_precision
from ...compiler.graph.opset import raise_opset
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.base import PassResult
from ...compiler.pipeline.context import Context

PER_CHANNEL_OPSET, FIRST_OPSET = 13, 10
SINGLE_PRECISION = (
    "the network was in half precision: the file holds float32 now, which Q/DQ pairs need; its inputs and outputs are "
    "what they were, and the engine chooses where it computes in half"
)


def adapt_opset(graph: gs.Graph, ctx: Context, result: PassResult) -> None:
    """Opset and IR version: per-channel scales need opset 13, and the target caps both."""
    before, target = graph.opset, ctx.target
    if before < PER_CHANNEL_OPSET:
        failure = raise_opset(graph, PER_CHANNEL_OPSET)
        result.changed |= failure is None
        result.notes.append(
            failure or f"opset raised from {before} to {PER_CHANNEL_OPSET}, which per-channel scales need"
        )
    if FIRST_OPSET <= graph.opset < PER_CHANNEL_OPSET:
        result.notes.append(f"one scale per weight, not per channel: these need opset {PER_CHANNEL_OPSET}")
    if graph.opset > target.max_opset and not ctx.options.legalize:
        result.notes.append(f"the model has opset {graph.opset}; {target.name} reads up to {target.max_opset}")
    elif (graph.ir_version or 0) > target.max_ir:
        graph.ir_version = target.max_ir


def leave_half_precision(graph: gs.Graph, ctx: Context, reasons: dict[int, str | None], result: PassResult) -> None:
    """Put a network whose accepted layers are in half precision into float32; where that cannot be, add the reason."""
    half = [node for node in graph.nodes if reasons.get(id(node), "") is None and is_half(node)]
    if not half:
        return
    failure = obstacle(graph)
    if failure is not None:
        reasons.update(
            (id(node), f"it is in half precision, which pairs are not written for: {failure}") for node in half
        )
        return
    to_single_precision(Rewriter(graph, ctx.origins))
    result.notes.append(SINGLE_PRECISION)
