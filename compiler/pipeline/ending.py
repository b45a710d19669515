"""In what precision a pipeline ends: what the passes behind the running one make of a network before an engine gets it.

A budget in time is of that network: where `quantize` follows, a Conv costs what its INT8 kernel does.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..costs.cost_model import DeviceLatencyModel, Foreseen, device_latency_model
from ..costs.latency import Precision
from ..targets.calibration_cache import SUFFIX
from .context import Context

FLOAT: Precision = "fp16"
"""Of what no pass quantizes: engines are built with --fp16."""


def ending_precision(ctx: Context) -> Precision:
    """Of layers that are in float now."""
    for entry in reversed(ctx.following):
        precision: Precision | None = entry.ends_in(ctx)
        if precision is not None:
            return precision
    return FLOAT


def ending_model(ctx: Context) -> DeviceLatencyModel | None:
    """Of a network's time on the target as the pipeline ends, in the run's power mode; None where there is none."""
    return device_latency_model(
        ctx.target, ending_precision(ctx), ctx.options.power_mode, lambda graph: foreseen(graph, ctx)
    )


def foreseen(graph: gs.Graph, ctx: Context) -> Foreseen:
    """`graph` as the passes behind the running one leave it, as far as its time goes and is known before they run."""
    seen = Foreseen(graph, "int8" if SUFFIX in ctx.state.sidecars else "auto")
    for entry in ctx.following:
        seen = entry.foreseen(seen, ctx)
    return seen
