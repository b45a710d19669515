"""Which rounded layers stay in float after all: those that lose too much by themselves (`losses`), and of the others
as few as a budget asks for (`mixed_precision`), or as many as mend a network that is broken without (`broken`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from ...compiler.pipeline.traces import Trials
from ...compiler.report.formatting import first_few
from ..budgets.budget import Budget
from ..budgets.search import BudgetSearch
from .broken import mended
from .mixed_precision import Outcome, search_precision
from .quantizer import Quantizer
from .time_saved import UNKNOWN, TimeSaved, time_saved
from .weight_only import LayerReport

STAYS = "stays in float: INT8 would lose {loss:.1%} of its outputs' variance, the mean over channels (noise=)"
NOISE, WITH_BUDGET = 0.01, 1.0
"""The share of a layer's variance that may be lost, where none is given."""


@dataclass(frozen=True)
class InFloat:
    """What was decided, for the report.

    Attributes:
        reasons: by layer that stays in float.
        costs: what INT8 costs and saves, by layer, as far as it is known.
        searches: by estimated time.
    """

    reasons: Mapping[str, str]
    costs: Mapping[str, LayerReport]
    notes: Sequence[str]
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    searches: Sequence[Trials] = ()


def left_in_float(
    quantizer: Quantizer, layers: Sequence[gs.Node], noise: float | None, budget: Budget | None
) -> InFloat:
    """Of rounded `layers`; `noise` and `budget` as `quantize` is given them."""
    ctx, losses = quantizer.ctx, quantizer.losses(layers)
    most = noise or (NOISE if budget is None else WITH_BUDGET)
    lossy = {name: loss for name, loss in losses.items() if loss > (ctx.settings(name).get("noise") or most)}
    saved = time_saved(quantizer) if lossy or budget is not None else UNKNOWN
    reasons = {name: STAYS.format(loss=loss) for name, loss in lossy.items()}
    notes = [_note(lossy, saved)] if lossy else []
    others = [node for node in layers if node.name not in lossy]
    if budget is None and noise is None:
        found = mended(quantizer, others)
        return InFloat(reasons | found.reasons(), _costs(losses, saved, found.outcome), [*notes, *found.notes])
    if budget is None or not others:
        return InFloat(reasons, _costs(losses, saved), notes)
    search = BudgetSearch.of(budget, ctx, quantizer.graph, ctx.judging)
    outcome = search_precision(quantizer, others, saved, search)
    notes.append(f"{budget}: {outcome.note(search)}")
    costs = _costs(losses, saved, outcome)
    searches = [outcome.trace(search)] if outcome.saved.ms else []
    return InFloat(reasons | outcome.reasons(budget), costs, notes, outcome.metrics(search), searches)


def _note(lossy: Mapping[str, float], saved: TimeSaved) -> str:
    """About the layers that lose too much, the worst of them named."""
    worst = sorted(lossy, key=lambda name: -lossy[name])
    names = first_few([f"'{name}' ({lossy[name]:.0%})" for name in worst])
    count = "1 layer stays" if len(lossy) == 1 else f"{len(lossy)} layers stay"
    cost = saved.cost(lossy)
    return f"{count} in float{cost} for what INT8 would lose of the outputs: {names}; noise=1 quantizes all"


def _costs(losses: Mapping[str, float], saved: TimeSaved, outcome: Outcome | None = None) -> dict[str, LayerReport]:
    divergences = dict[str, float]() if outcome is None else outcome.divergences
    ms = (saved if outcome is None else outcome.saved).ms
    columns = {"int8_loss": losses, "int8_divergence": divergences, "ms_saved": ms}
    return {
        name: {key: column[name] for key, column in columns.items() if name in column}
        for name in {*losses, *divergences, *ms}
    }
