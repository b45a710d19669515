"""What a network takes as a file, and rewrites under a budget of bytes, parameters or time.

`bytes=` is a share of the file that came in. What a choice of sizes will store is counted before anything is written
(`costs`); names, attributes and what the target wants beside are weighed afterwards, on the network as it would leave
the run, and so are the biases that layers get from their fits, and the time of the network as a whole, whose kernels
are not those of its Convs alone. Where it weighs too much, the rewrite is taken back, and
done again under a budget that is smaller by as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import onnx_graphsurgeon as gs

from ...compiler.costs.network_cost import graph_cost
from ...compiler.costs.workload import LatencyModel
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.shapes import infer_shapes
from ...compiler.graph.weightless import graph_bytes
from ...compiler.pipeline.context import Context, Snapshot
from ...runtime.shapes import network_shapes
from ..legalize import Legalize
from .budget import Budget, BudgetUnreachable, unreachable
from .costs import Costs

TRIES, ROUNDING = 4, 1e-12


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


def parameters(graph: gs.Graph, ctx: Context) -> int:
    """Those of the Convs, with the biases that a fit gave to layers without one."""
    return graph_cost(graph, infer_shapes(graph, ctx.sample_shapes())).params


Weights = Mapping[str, Callable[[gs.Graph, Context], float]]
WEIGHED: Weights = {"params": parameters, "bytes": file_bytes}


def network_ms(latency_model: LatencyModel) -> Callable[[gs.Graph, Context], float]:
    """What a network takes as a whole."""
    return lambda graph, ctx: latency_model.graph(graph, network_shapes(graph, ctx))


def rewrite_within(
    graph: gs.Graph,
    ctx: Context,
    budget: Budget,
    original: Mapping[str, float],
    rewrite: Callable[[Budget], Costs],
    latency_model: LatencyModel | None = None,
) -> Costs:
    """Call `rewrite`, which edits `graph` under a budget, so that what it leaves keeps limits of bytes and parameters.

    Args:
        original: costs of the original.
        rewrite: returns the shares of the original's costs that it counts.
        latency_model: by which a limit of time is kept, too.

    Returns:
        The shares left; those of bytes, parameters and time, where they are limited, as they were weighed.

    Raises:
        BudgetUnreachable: it does not keep them under any smaller budget either.
    """
    weighed_by: Weights = WEIGHED if latency_model is None else {**WEIGHED, "latency": network_ms(latency_model)}
    weights = {unit: weight for unit, weight in weighed_by.items() if unit in budget.limits}
    if not weights:
        return rewrite(budget)
    before = Snapshot.of(graph, ctx)
    uncounted, least = dict.fromkeys(weights, 0.0), dict.fromkeys(weights, 1.0)
    for attempt in range(TRIES):
        limits = {unit: share - uncounted.get(unit, 0.0) for unit, share in budget.limits.items()}
        try:
            shares = rewrite(replace(budget, limits=limits))
        except BudgetUnreachable:
            if not attempt:
                raise
            break
        weighed = {unit: weight(graph, ctx) / original[unit] for unit, weight in weights.items()}
        over = [unit for unit in weights if weighed[unit] > budget.limits[unit] * (1 + ROUNDING)]
        if not over:
            return {**shares, **weighed}
        uncounted |= {unit: max(uncounted[unit], weighed[unit] - shares[unit]) for unit in over}
        least = {unit: min(least[unit], share) for unit, share in weighed.items()}
        before.put_back(graph, ctx)
    raise unreachable(budget, "network found" if "latency" in weights else "file found", least)
