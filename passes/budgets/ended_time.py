"""What a network takes once the passes behind the running one have quantized it, by trying them on a copy.

`Pass.foreseen` takes it that every layer is quantized that may be. Which of them stay in float for what they lose is
known only when it is tried: a layer that was fitted anew may be one of them although it was none before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.errors import CompressError
from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.context import Context, RunState
from ...compiler.pipeline.progress import silent
from .file_size import network_ms


def quantizes(ctx: Context) -> bool:
    """Whether a pass behind the running one quantizes, on samples."""
    return ctx.data is not None and any(entry.quantizes for entry in ctx.following)


def ended_ms(
    graph: gs.Graph, state: RunState, ctx: Context, latency_model: Callable[[Context], LatencyModel | None]
) -> float | None:
    """The time of a network, which stays as it is, at the end; None where that cannot be told: what follows fails.

    Args:
        state: what belongs to the network.
        latency_model: of a run that ends there.
    """
    ended, own = copy_graph(graph), replace(ctx, state=state.copy(), progress=silent, before=None)
    try:
        for place, entry in enumerate(ctx.following):
            if entry.quantizes:
                own.running, own.following = entry.name, ctx.following[place + 1 :]
                entry.run(ended, own)
                ended.cleanup(recurse_subgraphs=False, recurse_functions=False)
    except CompressError:
        return None
    own.following = ()
    model = latency_model(own)
    return None if model is None else network_ms(model)(ended, own)
