"""Which Convs a decomposition may rewrite, and what every size would cost and lose."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel, positions
from ...compiler.graph.convs import Conv, find_convs, unsupported_convs
from ...compiler.graph.shapes import Shapes, infer_shapes
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import lockstep
from ...runtime.moments import Moments, SampledRows
from ...runtime.rows import Layer, stored_weight
from ...runtime.subsets import Slice
from ..budgets.allocate import Choice
from ..budgets.budget import RewriteCandidate
from ..budgets.costs import CostEvaluator, Costs
from ..projection.activation_aware import ActivationAwareFit, ActivationRows
from ..projection.activation_split import PiecewiseLinear
from ..projection.fit import Fit, best_fit, plain_fit, total_signal
from .forms import Form

CURVE_ROWS, CURVE_SAMPLES, FEWEST_SAMPLES = 2**13, 256, 64
SPARE = 2  # rows that samples have for every one that a curve reads: neighbours in an image are alike
FEW_ROWS = 100  # measured on ResNet-20 at half the MACs: top-1 88.8 -> 89.4 with 128 images, unchanged with 1,024
Watch = Callable[[Conv, "list[Fit]", "Sequence[Choice]"], None]


@dataclass(frozen=True, eq=False)
class Survey:
    """The Convs of a graph, sorted into candidates and those left alone.

    Attributes:
        candidates: in graph order.
        skipped: a decision with its reason for every other Conv.
        cost: of the graph.
        original: of the model that entered the pipeline.
    """

    candidates: list[RewriteCandidate]
    skipped: list[Decision]
    cost: Costs
    original: Costs

    def fixed(self) -> Costs:
        """What the graph costs beside its candidates."""
        return {
            unit: total - sum(candidate.dense.costs[unit] for candidate in self.candidates)
            for unit, total in self.cost.items()
        }

    def kept(self, chosen: Sequence[Choice]) -> Costs:
        """The share of the original's costs that is left, by cost."""
        fixed = self.fixed()
        return {
            unit: (fixed[unit] + sum(choice.costs[unit] for choice in chosen)) / max(total, 1e-30)
            for unit, total in self.original.items()
        }


@dataclass(frozen=True)
class Request:
    """What a pass asks of a survey.

    Attributes:
        check: why a Conv is left alone, or None.
        units: the costs of which a rewrite has to save one; under "latency" it has to save that.
        align: sizes are multiples of this.
        ridge: see `projection.fit`.
        latency_model: of latency, if there is any.
        data: samples for the error curves; None compares weights.
        watch: shown every candidate's fits and choices, in graph order.
    """

    check: Callable[[Conv], str | None]
    forms: Sequence[Form]
    units: Sequence[str]
    align: int
    ridge: float
    latency_model: LatencyModel | None = None
    data: Data | None = None
    watch: Watch | None = None


def survey(graph: gs.Graph, ctx: Context, request: Request) -> Survey:
    """Check every Conv of `graph`, and draw the error curve of those that may be rewritten."""
    evaluator, before = _evaluator(graph, ctx, request), _evaluator(ctx.original or graph, ctx, request)
    skipped = [Decision(name, "skipped", reason) for name, reason in unsupported_convs(graph)]
    offers: dict[str, Offer] = {}
    alike: dict[Hashable, Offer] = {}
    convs: list[Conv] = []
    every = list(find_convs(graph))
    with ctx.progress("costs", len(every)) as advance:
        for conv in every:
            reason = ctx.unselected(conv.name) or _broken(conv) or request.check(conv) or _unformed(conv, request)
            offer = None if reason else _offer(conv, evaluator, request, alike)
            advance()
            if offer is None or not any(offer.sizes.values()):
                skipped.append(Decision(conv.name, "skipped", reason or _too_small(offer, request)))
                continue
            offers[conv.name] = offer
            convs.append(conv)
    drawn = _original_fits(graph, ctx, convs, request, evaluator.shapes)
    calls = (((conv, fits), (conv, fits, _largest(offers[conv.name], request))) for conv, fits in drawn)
    curves = ctx.jobs.run(_curves, calls)
    candidates = [_candidate(conv, fits, offers[conv.name], found, request) for (conv, fits), found in curves]
    return Survey(candidates, skipped, evaluator.network(graph), before.network(ctx.original or graph))


def _evaluator(graph: gs.Graph, ctx: Context, request: Request) -> CostEvaluator:
    return CostEvaluator(infer_shapes(graph, ctx.sample_shapes()), request.latency_model, "latency" in request.units)


def layer_fits(layer: Layer, moments: Moments, ridge: float) -> list[Fit]:
    """The best dense fit of every group; the fewer rows per input, the stronger the pull to the stored weight."""
    ridge *= 1 + FEW_ROWS * layer.fan_in / moments.count
    parts = zip(moments.xx, moments.yx, moments.power, stored_weight(layer)[0], strict=True)
    fits = [best_fit(xx, yx, power, weight, ridge, moments.own) for xx, yx, power, weight in parts]
    return fits if moments.rows is None else activation_aware_fits(fits, moments.rows)


def activation_aware_fits(fits: Sequence[Fit], rows: SampledRows) -> list[Fit]:
    """The fits of a layer's groups with their rows, where the activation after the layer is known."""
    known = rows.activation
    if known is None or known.linear:
        return list(fits)
    workloads = PiecewiseLinear(known.low, known.high, known.leak)

    def seen(group: int) -> ActivationRows:
        shift = 0.0 if rows.shift is None else rows.shift[:, group]
        return ActivationRows(rows.x[:, group], rows.y[:, group], shift, workloads)

    return [ActivationAwareFit.of(fit, seen(group)) for group, fit in enumerate(fits)]


def plain_fits(layer: Layer) -> list[Fit]:
    """Without data: the stored weight of every group, in the identity metric."""
    return [plain_fit(weight, bias) for weight, bias in zip(*stored_weight(layer), strict=True)]


def curve_samples(data: Data, positions: int = 1) -> Data:
    """The samples that error curves are drawn from; the others are held out. Whole batches where the model insists.

    Args:
        positions: rows that every layer has of one sample; where there are many, fewer samples do.
    """
    enough = max(FEWEST_SAMPLES, -(-SPARE * CURVE_ROWS // positions))
    return Slice(data, 0, _whole(data, min(CURVE_SAMPLES, enough, data.samples // 2)) or data.samples)


def held_out(data: Data, count: int) -> Data | None:
    """The last samples, about `count`, that no error curve has seen; None where there are none."""
    left = data.samples - curve_samples(data).samples
    held = min(left, max(_whole(data, count), data.fixed_batch or 1))
    return Slice(data, data.samples - held, data.samples) if held else None


def _whole(data: Data, count: int) -> int:
    return count - count % (data.fixed_batch or 1)


@dataclass(frozen=True, eq=False)
class Offer:
    """What a Conv costs dense, and by form and size what its rewrites would that are cheaper."""

    dense: Costs
    sizes: Mapping[str, Mapping[int, Costs]]


def _original_fits(
    graph: gs.Graph, ctx: Context, convs: list[Conv], request: Request, shapes: Shapes
) -> Iterator[tuple[Conv, list[Fit]]]:
    if request.data is None:
        yield from ((conv, plain_fits(conv)) for conv in convs)
        return
    with ctx.progress("error curves", len(convs)) as advance:
        data = curve_samples(request.data, min((positions(conv.output, shapes) for conv in convs), default=1))
        for layer, moments in lockstep(graph, graph, convs, data, ctx.rng(), CURVE_ROWS, memory=ctx.activation_bytes):
            assert isinstance(layer, Conv)
            yield layer, layer_fits(layer, moments, request.ridge)
            advance(layer.name)


def _broken(conv: Conv) -> str | None:
    return None if np.isfinite(conv.weight).all() else "its weight holds NaN or Inf"


def _unformed(conv: Conv, request: Request) -> str | None:
    reasons = [form.check(conv) for form in request.forms]
    return None if None in reasons else "; ".join(str(reason) for reason in reasons)


def _too_small(offer: Offer | None, request: Request) -> str:
    if offer is not None and "latency" in request.units and "latency" not in offer.dense:
        return "its shape is not known, so neither is its latency"
    unit = "faster" if "latency" in request.units else "cheaper"
    return f"no size that is a multiple of {request.align} is {unit} than the Conv itself"


def _offer(conv: Conv, evaluator: CostEvaluator, request: Request, alike: dict[Hashable, Offer]) -> Offer:
    """That of a Conv of the same geometry in `alike`, where there is one, or a new one, which joins them."""
    forms = [form for form in request.forms if not form.check(conv)]
    key = (tuple(form.name for form in forms), *evaluator.geometry(conv))
    if key not in alike:
        dense = evaluator.dense(conv)
        alike[key] = Offer(dense, {form.name: _sizes(conv, form, dense, evaluator, request) for form in forms})
    return alike[key]


def _sizes(conv: Conv, form: Form, dense: Costs, evaluator: CostEvaluator, request: Request) -> dict[int, Costs]:
    """The multiples of `align` that save what is asked for; all costs but a latency are sure to grow with the size."""
    asked = ["latency"] if "latency" in request.units else request.units
    found: dict[int, Costs] = {}
    for size in range(request.align, form.limit(conv) + 1, request.align):
        costs = evaluator.rewritten(conv, form, size)
        if costs["macs"] > dense["macs"]:
            break
        if any(costs[unit] < dense[unit] for unit in asked if unit in dense):
            found[size] = costs
        elif "latency" not in asked:
            break
    return found


def _largest(offer: Offer, request: Request) -> list[tuple[Form, int]]:
    """The forms a Conv may take, and the largest size of each."""
    return [(form, max(sizes)) for form in request.forms if (sizes := offer.sizes.get(form.name))]


def _curves(conv: Conv, fits: list[Fit], forms: Sequence[tuple[Form, int]]) -> dict[str, np.ndarray]:
    """A job: relative errors by size, by form."""
    signal = total_signal(fits)
    return {form.name: form.curve(conv, fits, largest) / signal for form, largest in forms}


def _candidate(
    conv: Conv, fits: list[Fit], offer: Offer, curves: Mapping[str, np.ndarray], request: Request
) -> RewriteCandidate:
    choices = [Choice(offer.dense, 0.0)]
    for name, curve in curves.items():
        choices += [Choice(costs, float(curve[size]), size, name) for size, costs in offer.sizes[name].items()]
    if request.watch is not None:
        request.watch(conv, fits, choices)
    return RewriteCandidate(
        conv, choices, {form.name: form.limit(conv) for form in request.forms if form.name in offer.sizes}
    )
