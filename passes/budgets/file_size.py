"""What a network takes as a file, and rewrites under a budget of bytes.

`bytes=` is a share of the file that came in. What a choice of sizes will store is counted before anything is written
(`costs`); names, attributes and what the target wants beside are weighed afterwards, on the network as it would leave
the run. Where it weighs too much, the rewrite is taken back, and done again under a budget that is smaller by as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx_graphsurgeon as gs

from ...compiler.graph.copies import copy_graph
from ...compiler.graph.weightless import graph_bytes
from ...compiler.pipeline.context import Context, Snapshot
from ..legalize import Legalize
from .budget import Budget, BudgetUnreachable, unreachable
from .costs import Costs

TRIES = 4


def original_bytes(ctx: Context, original: gs.Graph) -> int:
    """Of the file that came in; of the graph alone, where there was none."""
    return ctx.original_bytes or graph_bytes(original)


def file_bytes(graph: gs.Graph, ctx: Context) -> int:
    """What the network takes once it is written for the target."""
    if not ctx.options.legalize:
        return graph_bytes(graph) + ctx.envelope_bytes
    ready = copy_graph(graph)
    Legalize().run(ready, replace(ctx, state=ctx.state.copy()))
    return graph_bytes(ready) + ctx.envelope_bytes


def rewrite_within(
    graph: gs.Graph, ctx: Context, budget: Budget, original: float, rewrite: Callable[[Budget], Costs]
) -> Costs:
    """Call `rewrite`, which edits `graph` under a budget, so that the file keeps `budget` where it limits bytes.

    Args:
        original: bytes of the original's file.
        rewrite: returns the shares of the original's costs that it counts.

    Returns:
        The shares left; of bytes the one that was weighed.

    Raises:
        BudgetUnreachable: it does not keep it under any smaller budget either.
    """
    if "bytes" not in budget.limits:
        return rewrite(budget)
    before, allowed = Snapshot.of(graph, ctx), budget.limits["bytes"]
    uncounted, least = 0.0, 1.0
    for attempt in range(TRIES):
        try:
            shares = rewrite(replace(budget, limits={**budget.limits, "bytes": allowed - uncounted}))
        except BudgetUnreachable:
            if not attempt:
                raise
            break
        weighed = file_bytes(graph, ctx) / original
        if weighed <= allowed:
            return {**shares, "bytes": weighed}
        uncounted, least = max(uncounted, weighed - shares["bytes"]), min(least, weighed)
        before.put_back(graph, ctx)
    raise unreachable(budget, "file found", {"bytes": least})
