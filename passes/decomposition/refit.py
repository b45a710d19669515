"""Writing a chosen network: each layer is projected, or re-fitted, in the metric of what then reaches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import Conv, find_convs
from ...compiler.graph.gemms import find_gemms
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import ROWS, lockstep
from ...runtime.rows import Layer, in_graph_order, is_too_wide
from ..budgets.allocate import Choice
from ..budgets.budget import RewriteCandidate
from ..projection.fit import Fit, total_signal
from .forms import Form, Projection, emit
from .survey import layer_fits, plain_fits

Fitted = tuple[Layer, list[Fit]]
DENSE = "left dense: the budget is better spent on other layers"
SLOWER = "saves MACs but no time: {:.4f} ms before, {:.4f} ms after, says the cost model of the target"


@dataclass(frozen=True)
class Plan:
    """What to write: a choice per Conv (by name), the forms by name, and how to fit.

    Attributes:
        candidates: the Convs the choices are for, by name.
        lockstep: fit on the inputs of the network as rewritten so far, and re-fit what stays dense; otherwise fit on
            the inputs of the network before the pass.
        rows: input rows that a layer is fitted on.
        keep: rows that forms get to see beside the moments (`projection.through`).
    """

    choices: Mapping[str, Choice]
    candidates: Mapping[str, RewriteCandidate]
    forms: Mapping[str, Form]
    lockstep: bool
    ridge: float
    rows: int = ROWS
    keep: int = 0

    def form(self, layer: Layer) -> tuple[Form | None, int]:
        """What the layer becomes, and its size; None and 0 where it stays dense."""
        choice = self.choices.get(layer.name)
        return (self.forms[choice.form], choice.size) if choice is not None and choice.size else (None, 0)


def write(graph: gs.Graph, ctx: Context, plan: Plan, data: Data | None) -> list[Decision]:
    """Rewrite `graph` in place; a decision per layer of the plan and per layer re-fitted."""
    rewriter = Rewriter(graph, ctx.origins)
    with ctx.progress("rewriting", len(plan.choices)) as advance:
        decisions: list[Decision] = []
        for (layer, fits), projection in _projections(graph, ctx, plan, data):
            decisions.append(_write_layer(rewriter, layer, fits, projection, plan))
            advance(f"{layer.name} {decisions[-1].action}")
    written = {decision.node for decision in decisions}
    return [*decisions, *(Decision(name, "kept", DENSE) for name in plan.choices if name not in written)]


def _projections(
    graph: gs.Graph, ctx: Context, plan: Plan, data: Data | None
) -> Iterator[tuple[Fitted, Projection | None]]:
    """Every layer to be written, with what it becomes, or None where it stays dense."""
    fitted = _fits(graph, ctx, plan, data)
    if plan.lockstep and data is not None:  # what is written decides the next fit
        return ((pair, _project(*pair, *plan.form(pair[0]))) for pair in fitted)
    return ctx.jobs.run(_project, ((pair, (*pair, *plan.form(pair[0]))) for pair in fitted))


def _project(layer: Layer, fits: list[Fit], form: Form | None, size: int) -> Projection | None:
    """A job, where layers do not depend on each other."""
    return form.project(layer, fits, size) if form is not None and isinstance(layer, Conv) else None


def _fits(graph: gs.Graph, ctx: Context, plan: Plan, data: Data | None) -> Iterator[Fitted]:
    names = set(plan.choices) - ctx.held
    chosen = [conv for conv in find_convs(graph) if conv.name in names]
    if data is None:
        yield from ((conv, plain_fits(conv)) for conv in chosen if plan.choices[conv.name].size)
        return
    reference = graph.copy()
    if plan.lockstep:
        gemms = (gemm for gemm in find_gemms(graph) if not is_too_wide(gemm) and not ctx.out_of_scope(gemm.name))
        layers, walked = in_graph_order(graph, [*chosen, *gemms]), graph
    else:
        layers, walked = [conv for conv in chosen if plan.choices[conv.name].size], reference
    memory = ctx.activation_bytes
    for layer, moments in lockstep(walked, reference, layers, data, ctx.rng(), plan.rows, None, plan.keep, memory):
        yield layer, layer_fits(layer, moments, plan.ridge)


def _write_layer(
    rewriter: Rewriter, layer: Layer, fits: list[Fit], projection: Projection | None, plan: Plan
) -> Decision:
    choice = plan.choices.get(layer.name)
    if isinstance(layer, Conv) and choice is not None and projection is not None:
        return _decompose(rewriter, layer, fits, choice, projection, plan)
    weight = np.concatenate([fit.weight for fit in fits])
    layer.store(rewriter, weight, _bias(fits, [fit.weight for fit in fits]))
    figures: dict[str, float | int | str] = {"error": sum(fit.residual for fit in fits) / total_signal(fits)}
    if choice is not None:
        figures |= _figures(plan.candidates[layer.name], choice)
    return Decision(layer.name, "refitted", DENSE if choice else "", figures)


def _decompose(
    rewriter: Rewriter, conv: Conv, fits: list[Fit], choice: Choice, projection: Projection, plan: Plan
) -> Decision:
    lost = sum(fit.lost(dense) + fit.residual for fit, dense in zip(fits, projection.dense, strict=True))
    figures: dict[str, float | int | str] = {
        "form": choice.form,
        "size": choice.size,
        "full_size": plan.forms[choice.form].limit(conv),
        "error": lost / total_signal(fits),
    }
    figures |= {**_figures(plan.candidates[conv.name], choice), **projection.figures}
    bias = np.concatenate(projection.bias) if projection.bias else _bias(fits, projection.dense)
    if projection.write is None:
        emit(rewriter, conv, projection.factors, bias)
    else:
        projection.write(rewriter, conv, bias)
    return Decision(conv.name, "rewritten", _slower(figures), figures)


def _figures(candidate: RewriteCandidate, choice: Choice) -> dict[str, float | int | str]:
    figures: dict[str, float | int | str] = {}
    for unit in ("macs", "latency"):
        if unit in choice.costs:
            figures |= {f"{unit}_before": candidate.dense.costs[unit], f"{unit}_after": choice.costs[unit]}
    return figures if candidate.gain == 1.0 else {**figures, "sensitivity": candidate.gain}


def _slower(figures: Mapping[str, float | int | str]) -> str:
    """A word on a rewrite that the target's cost model takes for slower."""
    before, after = figures.get("latency_before", 0.0), figures.get("latency_after", 0.0)
    return SLOWER.format(before, after) if float(after) > float(before) else ""


def _bias(fits: Sequence[Fit], dense: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([fit.bias(weight) for fit, weight in zip(fits, dense, strict=True)])
