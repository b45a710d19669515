"""Which Convs a decomposition may rewrite, and what every size would cost and lose."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import ConvWorkload, LatencyModel, positions
from ...compiler.graph.convs import Conv, find_convs, unsupported_convs
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.ties import refusal, tie
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.shapes import network_shapes
from ..budgets.allocate import Choice, cheapest
from ..budgets.budget import CostShares
from ..budgets.costs import CostEvaluator, Costs
from ..budgets.file_size import original_bytes
from ..budgets.search import COSTS
from ..fitting.lockstep import curve_fits
from ..projection.fit import Fit, total_signal
from ..sensitivity.measure import SensitivityMeter
from .candidates import RewriteCandidate
from .forms import Form


@dataclass(frozen=True, eq=False)
class Survey:
    """The Convs of a graph, sorted into candidates and those left alone.

    Attributes:
        candidates: in graph order.
        skipped: a decision with its reason for every other Conv.
        costs: of the graph, as shares of the original's; what is no candidate is fixed.
    """

    candidates: list[RewriteCandidate]
    skipped: list[Decision]
    costs: CostShares

    @property
    def original(self) -> Mapping[str, float]:
        """What the model that entered the pipeline costs."""
        return self.costs.original

    def least(self, unit: str) -> float:
        """The smallest share of a cost that the choices leave."""
        layers = [each.choices if each.only is None else [each.only] for each in self.candidates]
        return self.costs.of({unit: cheapest(layers, unit)})[unit]

    def kept(self, chosen: Sequence[Choice]) -> Costs:
        """The share of the original's costs that is left, by cost, without those that not every choice has."""
        units = [unit for unit in self.original if all(unit in choice.costs for choice in chosen)]
        return self.costs.of({unit: sum(choice.costs[unit] for choice in chosen) for unit in units})


@dataclass(frozen=True)
class SurveyOptions:
    """What a pass asks of a survey.

    Attributes:
        check: why a Conv is left alone, or None.
        units: the costs of which a rewrite has to save one; under "latency" it has to save that.
        align: sizes are multiples of this.
        ridge: see `projection.fit`.
        latency_model: of latency, if there is any.
        data: samples for the error curves; None compares weights.
        meter: of what each Conv's error counts; None counts all the same.
        others: models by which a rewrite under "latency" has to be faster, too.
        worth: the share of the original's first unit that all rewrites together have to save; else none is offered.
    """

    check: Callable[[Conv], str | None]
    forms: Sequence[Form]
    units: Sequence[str]
    align: int
    ridge: float
    latency_model: LatencyModel | None = None
    data: Data | None = None
    meter: SensitivityMeter | None = None
    others: Sequence[LatencyModel] = ()
    worth: float = 0.0


def survey(graph: gs.Graph, ctx: Context, options: SurveyOptions) -> Survey:
    """Check every Conv of `graph`, and draw the error curve of those that may be rewritten."""
    evaluator, original = _evaluator(graph, ctx, options), _original(graph, ctx, options)
    offered, skipped = offers(graph, ctx, options)
    candidates = list(_with_errors(graph, ctx, offered, evaluator.shapes, options))
    gains = {} if options.meter is None else options.meter.gains()
    candidates = [replace(each, gain=gains.get(each.conv.name, 1.0)) for each in candidates]
    fixed = {
        unit: total - sum(candidate.dense.costs[unit] for candidate in candidates)
        for unit, total in evaluator.network(graph).items()
    }
    original["bytes"] = original_bytes(ctx, ctx.original or graph)
    return Survey(candidates, skipped, CostShares(fixed, {unit: original[unit] for unit in original if unit in fixed}))


def offers(graph: gs.Graph, ctx: Context, options: SurveyOptions) -> tuple[list[RewriteCandidate], list[Decision]]:
    """The Convs that may be rewritten, without their errors yet; a decision with its reason for each of the others."""
    offered, skipped = _offered(graph, ctx, _evaluator(graph, ctx, options), options)
    if not options.worth:
        return offered, skipped
    offered, spared = _worth_it(offered, ctx, _original(graph, ctx, options), options)
    return offered, skipped + spared


def _original(graph: gs.Graph, ctx: Context, options: SurveyOptions) -> Costs:
    """What the model that entered the pipeline costs."""
    before = ctx.original or graph
    return _evaluator(before, ctx, options).network(before)


def _evaluator(graph: gs.Graph, ctx: Context, options: SurveyOptions) -> CostEvaluator:
    timed = "latency" in options.units
    return CostEvaluator(network_shapes(graph, ctx), options.latency_model, timed, options.others)


def _offered(
    graph: gs.Graph, ctx: Context, evaluator: CostEvaluator, options: SurveyOptions
) -> tuple[list[RewriteCandidate], list[Decision]]:
    """The Convs with a cheaper form, their choices without errors yet; a decision for each of the others."""
    skipped = [Decision(name, "skipped", reason) for name, reason in unsupported_convs(graph)]
    offered: list[RewriteCandidate] = []
    alike: dict[Hashable, list[Choice]] = {}
    every, forms = tie(find_convs(graph)), {form.name: form for form in options.forms}
    named = replace(options, units=("macs",)) if options.units == ("latency",) else options
    with ctx.progress("costs", len(every)) as advance:
        for conv in every:
            reason = _reason(conv, ctx, options)
            choices = [] if reason else _choices(conv, evaluator, named if _sized(conv, ctx) else options, alike)
            advance()
            if len(choices) > 1:
                offered.append(RewriteCandidate(conv, choices, forms))
            else:
                why = reason or _too_small(choices[0], options)
                skipped += [Decision(use.name, "skipped", why) for use in conv.uses]
    return offered, skipped


def _sized(conv: Conv, ctx: Context) -> bool:
    """Whether its size is asked for by name, whatever it saves."""
    return any(ctx.settings(use.name) for use in conv.uses)


def _worth_it(
    offered: list[RewriteCandidate], ctx: Context, original: Mapping[str, float], options: SurveyOptions
) -> tuple[list[RewriteCandidate], list[Decision]]:
    """What is offered; where all that it could save is too little, what is asked for by name, and a decision for each
    of the others."""
    unit = options.units[0]
    saved = sum(each.dense.costs[unit] - min(choice.costs[unit] for choice in each.choices) for each in offered)
    if saved >= options.worth * original[unit]:
        return offered, []
    why = f"all that could be rewritten would save less than {100 * options.worth:g}% of the {COSTS[unit]}"
    spared = [use.name for each in offered if not _sized(each.conv, ctx) for use in each.conv.uses]
    return [each for each in offered if _sized(each.conv, ctx)], [Decision(name, "skipped", why) for name in spared]


def _reason(conv: Conv, ctx: Context, options: SurveyOptions) -> str | None:
    return _broken(conv) or refusal(
        conv, lambda use: ctx.unselected(use.name) or options.check(use) or _unformed(use, options)
    )


def _broken(conv: Conv) -> str | None:
    return None if np.isfinite(conv.weight).all() else "its weight holds NaN or Inf"


def _unformed(conv: Conv, options: SurveyOptions) -> str | None:
    reasons = [form.check(conv) for form in options.forms]
    return None if None in reasons else "; ".join(str(reason) for reason in reasons)


def _too_small(dense: Choice, options: SurveyOptions) -> str:
    if "latency" in options.units and "latency" not in dense.costs:
        return "its shape is not known, so neither is its latency"
    multiple = f" that is a multiple of {options.align}"
    if "latency" in options.units:
        return f"no size{multiple if options.align > 1 else ''} is faster than the Conv itself"
    return f"no size{multiple} is cheaper than the Conv itself"


def _choices(
    conv: Conv, evaluator: CostEvaluator, options: SurveyOptions, alike: dict[Hashable, list[Choice]]
) -> list[Choice]:
    """Dense first; those of a Conv of the same geometry in `alike`, or new ones, which are added to it."""
    forms = [form for form in options.forms if not any(map(form.check, conv.uses))]
    key = (tuple(form.name for form in forms), *options.units, *evaluator.geometry(conv))
    if key not in alike:
        dense = Choice(evaluator.dense(conv), 0.0)
        cheaper = [choice for form in forms for choice in _sizes(conv, form, dense.costs, evaluator, options)]
        alike[key] = [dense, *cheaper]
    return alike[key]


def _sizes(
    conv: Conv, form: Form, dense: Mapping[str, float], evaluator: CostEvaluator, options: SurveyOptions
) -> list[Choice]:
    """The multiples of `align` that save what is asked for; all costs but a latency are sure to grow with the size.

    None where the form cannot be counted and the Conv can: the shape of its input is unknown, that of its output not.
    """
    asked = ["latency"] if "latency" in options.units else options.units
    counted = "macs" if "macs" in dense else "params"
    asked = [unit if unit in dense or unit == "latency" else "params" for unit in asked]
    sizes: list[Choice] = []
    for size in range(options.align, form.limit(conv) + 1, options.align):

        def chain(use: Conv, size: int = size) -> Sequence[ConvWorkload]:
            return form.workloads(use, size, evaluator.shapes)

        costs = evaluator.rewritten(conv, chain)
        if counted not in costs or costs[counted] > dense[counted]:
            break
        if any(costs[unit] < dense[unit] for unit in asked if unit in dense):
            if "latency" not in asked or evaluator.faster(conv, chain):
                sizes.append(Choice(costs, 0.0, size, form.name))
        elif "latency" not in asked:
            break
    return sizes


def _with_errors(
    graph: gs.Graph, ctx: Context, candidates: list[RewriteCandidate], shapes: Shapes, options: SurveyOptions
) -> Iterator[RewriteCandidate]:
    """The candidates with the errors of their choices; measured where there is a meter that measures."""
    if not candidates:
        return
    convs = [candidate.conv for candidate in candidates]
    fewest = min((positions(use.output, shapes) or 1 for conv in convs for use in conv.uses), default=1)
    with ctx.progress("error curves", len(convs)) as advance:
        fitted = curve_fits(graph, ctx, convs, options.data, options.ridge, fewest)
        pairs = ((each, fits) for each, (_, fits) in zip(candidates, fitted, strict=True))
        calls = (((each, fits), (each.conv, fits, _largest(each))) for each, fits in pairs)
        for (candidate, fits), curves in ctx.jobs.run(_curves, calls):
            sizes = [replace(each, error=float(curves[each.form][each.size])) for each in candidate.choices[1:]]
            candidate = replace(candidate, choices=[candidate.dense, *sizes])
            if options.meter is not None and options.meter.measures:
                options.meter.add(candidate.conv, fits, candidate.trials(fits))
            advance(candidate.conv.name)
            yield candidate


def _largest(candidate: RewriteCandidate) -> list[tuple[Form, int]]:
    """The forms a Conv may take, and the largest size of each."""
    sizes = {choice.form: choice.size for choice in candidate.choices[1:]}
    return [(candidate.forms[name], size) for name, size in sizes.items()]


def _curves(conv: Conv, fits: list[Fit], forms: Sequence[tuple[Form, int]]) -> dict[str, np.ndarray]:
    """A job: relative errors by size, by form."""
    signal = total_signal(fits)
    return {form.name: form.curve(conv, fits, largest) / signal for form, largest in forms}
