"""Writing a chosen network: each layer is projected, or re-fitted, in the metric of what then reaches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import Conv, find_convs
from ...compiler.graph.gemms import find_gemms
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.ties import tie
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.rows import Layer, in_graph_order, is_too_wide
from ..budgets.allocate import Choice
from ..fitting.fits import fitted_bias, for_all_uses, refittable, relative_error, store_fitted
from ..fitting.lockstep import FitOptions, FittedLayer, fitted_layers
from ..projection.fit import Fit
from .candidates import RewriteCandidate
from .forms import Form, Projection, emit

Chosen = Mapping[str, tuple[RewriteCandidate, Choice]]
"""A candidate and the choice made for it, by the name of its Conv."""
Figures = dict[str, "float | int | str"]
DENSE = "left dense: the budget is better spent on other layers"
SLOWER = "saves MACs but no time: {:.4f} ms before, {:.4f} ms after by the target's cost model"


def rewrite(graph: gs.Graph, ctx: Context, chosen: Chosen, options: FitOptions, data: Data | None) -> list[Decision]:
    """Rewrite `graph` in place; a decision per candidate and per layer re-fitted.

    In lockstep what stays dense is re-fitted, too.
    """
    rewriter = Rewriter(graph, ctx.origins)
    with ctx.progress("rewriting", len(chosen)) as advance:
        decisions: list[Decision] = []
        for (layer, fits), projection in _projections(graph, ctx, chosen, options, data):
            decision = _write(rewriter, layer, fits, projection, chosen)
            decisions += for_all_uses(layer, decision)
            advance(f"{layer.name} {decision.action}")
    written = {decision.node for decision in decisions}
    left = (use.name for name, (candidate, _) in chosen.items() if name not in written for use in candidate.conv.uses)
    return [*decisions, *(Decision(name, "kept", DENSE) for name in left)]


def _projections(
    graph: gs.Graph, ctx: Context, chosen: Chosen, options: FitOptions, data: Data | None
) -> Iterator[tuple[FittedLayer, Projection | None]]:
    """Every layer to be written, with what it becomes, or None where it stays dense."""
    in_step = options.lockstep and data is not None
    fitted = fitted_layers(graph, ctx, _layers(graph, ctx, chosen, in_step), data, options)
    calls = (((layer, fits), (layer, fits, *_form(layer, chosen))) for layer, fits in fitted)
    if in_step:  # what is written decides the next fit
        return ((pair, _project(*call)) for pair, call in calls)
    return ctx.jobs.run(_project, calls)


def _layers(graph: gs.Graph, ctx: Context, chosen: Chosen, in_step: bool) -> list[Layer]:
    convs = [
        conv
        for conv in tie(find_convs(graph))
        if conv.name in chosen and not any(use.name in ctx.held for use in conv.uses)
    ]
    if not in_step:
        return [conv for conv in convs if chosen[conv.name][1].size]
    gemms = refittable(tie(gemm for gemm in find_gemms(graph) if not is_too_wide(gemm)), ctx)
    return in_graph_order(graph, [*convs, *gemms])


def _form(layer: Layer, chosen: Chosen) -> tuple[Form | None, int]:
    """What the layer becomes, and its size; None and 0 where it stays dense."""
    if layer.name not in chosen:
        return None, 0
    candidate, choice = chosen[layer.name]
    return (candidate.forms[choice.form], choice.size) if choice.size else (None, 0)


def _project(layer: Layer, fits: list[Fit], form: Form | None, size: int) -> Projection | None:
    """A job, where layers do not depend on each other."""
    return form.project(layer, fits, size) if form is not None and isinstance(layer, Conv) else None


def _write(
    rewriter: Rewriter, layer: Layer, fits: list[Fit], projection: Projection | None, chosen: Chosen
) -> Decision:
    if isinstance(layer, Conv) and projection is not None:
        return _decompose(rewriter, layer, fits, projection, *chosen[layer.name])
    figures: Figures = {"error": store_fitted(rewriter, layer, fits, [fit.weight for fit in fits])}
    if layer.name not in chosen:
        return Decision(layer.name, "refitted", "", figures)
    return Decision(layer.name, "refitted", DENSE, figures | _figures(*chosen[layer.name]))


def _decompose(
    rewriter: Rewriter, conv: Conv, fits: list[Fit], projection: Projection, candidate: RewriteCandidate, choice: Choice
) -> Decision:
    figures: Figures = {
        "form": choice.form,
        "size": choice.size,
        "full_size": candidate.forms[choice.form].limit(conv),
        "error": relative_error(fits, projection.dense),
    }
    figures |= {**_figures(candidate, choice), **projection.figures}
    bias = np.concatenate(projection.bias) if projection.bias else fitted_bias(fits, projection.dense)
    with rewriter.sharing(len(conv.uses)):
        for use in conv.uses:
            _place(rewriter, use, projection, bias)
    return Decision(conv.name, "rewritten", _slower(figures), figures)


def _place(rewriter: Rewriter, conv: Conv, projection: Projection, bias: np.ndarray) -> None:
    if projection.write is None:
        emit(rewriter, conv, projection.factors, bias)
    else:
        projection.write(rewriter, conv, bias)


def _figures(candidate: RewriteCandidate, choice: Choice) -> Figures:
    figures: Figures = {}
    for unit in ("macs", "latency"):
        if unit in choice.costs:
            figures |= {f"{unit}_before": candidate.dense.costs[unit], f"{unit}_after": choice.costs[unit]}
    return figures if candidate.gain == 1.0 else {**figures, "sensitivity": candidate.gain}


def _slower(figures: Figures) -> str:
    """A remark on a rewrite that takes longer by the target's cost model."""
    before, after = figures.get("latency_before", 0.0), figures.get("latency_after", 0.0)
    return SLOWER.format(before, after) if float(after) > float(before) else ""
