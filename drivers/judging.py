"""The quality of a finished network: on samples that no fit has seen, and beside it on some that fits have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod, sqrt

import onnx_graphsurgeon as gs

from ..compiler.graph.convs import find_convs
from ..compiler.graph.gemms import find_gemms
from ..compiler.pipeline.base import Pass
from ..compiler.pipeline.context import Context
from ..compiler.report import QualityReport
from ..compiler.report.formatting import first_few
from ..compiler.report.sizes import seen, shown
from ..passes.budgets.budget import SEARCHED, Budget
from ..passes.budgets.budgeted_pass import BudgetedPass
from ..passes.budgets.search import ALLOWED
from ..passes.quantize import Quantize
from ..runtime.quality.comparison import Judged
from ..runtime.quality.judge import judge_of_run
from ..runtime.quality.one_sided import SHARE
from ..runtime.quality.verdict import BESIDE, Verdict, seen_samples
from ..runtime.shapes import network_shapes

DESTROYED = 0.5
ROUNDING = 1e-9
BEHIND = "give the passes behind it a budget, too"
LAST = "what it was searched on says more: give more samples"
UNLIKE = 1.0
"""Outputs that are farther off than they are large: what a metric of the user's cannot miss."""


def quality_report(
    original: gs.Graph, compressed: gs.Graph, ctx: Context, verdict: Verdict | None
) -> QualityReport | None:
    """None where there is nothing to judge by. `verdict`: on `compressed`."""
    if verdict is None:
        return None
    with ctx.progress("compare", 1) as advance:
        judged, accuracy = verdict.judged, verdict.accuracy
        fitted = None if judged.samples is None else _on_fitted(original, compressed, ctx, verdict)
        advance()
    return QualityReport(
        metric=judged.metric,
        value=judged.value,
        deviation=judged.deviation,
        original=judged.original,
        samples=judged.samples,
        held_out=judged.samples is not None and ctx.judging is not None,
        fitted=fitted,
        agreement=judged.value if judged.metric == "agreement" else None,
        output_error=verdict.distance,
        top1_before=None if accuracy is None else accuracy.original,
        top1_after=None if accuracy is None else accuracy.value,
        outputs=dict(judged.outputs),
    )


def _on_fitted(original: gs.Graph, compressed: gs.Graph, ctx: Context, verdict: Verdict) -> float | None:
    """The figure with the loss on samples that fits have seen: the original is not as good on all samples. None where
    there are no others."""
    found, held_out = verdict.fitted or _judged_on_fitted(original, compressed, ctx), verdict.judged
    if found is None:
        return None
    return found.value if held_out.original is None else held_out.original - found.loss


def _judged_on_fitted(original: gs.Graph, compressed: gs.Graph, ctx: Context) -> Judged | None:
    seen = seen_samples(ctx)
    judge = None if seen is None else judge_of_run(original, ctx, seen)
    return None if judge is None else judge.judge(compressed)


def warnings(quality: QualityReport, original: gs.Graph, ctx: Context) -> Iterator[str]:
    """Where the network is destroyed, and where it is worse than the fitted samples make believe."""
    metric, value = quality["metric"], quality["value"]
    whole = 1.0 if quality["original"] is None else quality["original"]
    lost = value > DESTROYED if metric == "error" else whole > 0 and value < DESTROYED * whole
    if lost:
        yield f"the network is destroyed: {metric} {shown(quality)}, {seen(quality)}; ask for less, or add finetune"
    elif (quality["output_error"] or 0.0) > UNLIKE and quality["samples"] is None:
        yield from _missed(quality, whole)
    fitted, deviation = quality["fitted"], quality["deviation"] or 0.0
    chance = 2 * deviation * sqrt(1 + BESIDE)
    if fitted is not None and abs(fitted - value) > chance and (fitted > value) != (metric == "error"):
        yield f"the samples that were fitted say {fitted:.3g}: {_why(original, ctx)}; give more samples"


def one_sided(verdict: Verdict | None) -> Iterator[str]:
    """Where the original answers as if all samples were one: what any network agrees on says nothing."""
    if verdict is not None and verdict.commonest > SHARE:
        what = f"the original gives {100 * verdict.commonest:.0f} % of the samples one class"
        yield f"{what}: --preprocess is not what it was trained with, or the samples are alike"


def exceeded(quality: QualityReport, passes: Sequence[Pass]) -> Iterator[str]:
    """Budgets that a pass has kept and the network as written does not, by more than twice the standard error: what the
    passes behind it lose comes on top."""
    for entry in passes:
        if not isinstance(entry, BudgetedPass | Quantize):
            continue
        budget = Budget.of(**{rule: getattr(entry, rule) for rule in SEARCHED})
        loss = None if budget is None else _lost(budget.rule, quality)
        if budget is None or loss is None:
            continue
        points = budget.rule == "metric_drop" and quality["metric"] == "accuracy"
        allowed = ALLOWED["accuracy_drop" if points else budget.rule](budget.value)
        if loss > allowed + 2 * (quality["deviation"] or 0.0) + ROUNDING * abs(loss):
            figure = f"{quality['metric']} {shown(quality)}, {seen(quality)}"
            fix = LAST if entry is passes[-1] else BEHIND
            yield f"{entry.name}:{budget} is not kept by the network that is written: {figure}; {fix}"


def _lost(rule: str, quality: QualityReport) -> float | None:
    """In the terms of a budget's rule; None where the run has not measured that."""
    metric, value, original = quality["metric"], quality["value"], quality["original"]
    before, after = quality["top1_before"], quality["top1_after"]
    losses = {
        "agreement": 1 - value if metric in ("agreement", "pixels") else None,
        "error": value if metric == "error" else None,
        "accuracy_drop": None if before is None or after is None else before - after,
        "metric_drop": None if original is None else original - value,
    }
    return losses[rule]


def _missed(quality: QualityReport, whole: float) -> Iterator[str]:
    """What a metric of the user's does not say, of which no share is known or which has not moved."""
    off = f"the outputs are off by {quality['output_error']:.3g} of their size"
    if quality["value"] == whole:
        yield f"{quality['metric']} has not changed, but {off}: see that it measures the network that it is given"
    elif whole <= 0:
        yield f"the network is destroyed: {quality['metric']} {shown(quality)}, {off}; ask for less, or add finetune"


def _why(original: gs.Graph, ctx: Context) -> str:
    few = list(_with_few_rows(original, ctx))
    if not few:
        return "fits know these too well"
    verb = "has" if len(few) == 1 else "have"
    return f"{first_few(few)} {verb} more inputs than samples show"


def _with_few_rows(graph: gs.Graph, ctx: Context) -> Iterator[str]:
    """The layers whose weight has more inputs than the samples have rows for them."""
    samples, shapes = 0 if ctx.data is None else ctx.data.samples, network_shapes(graph, ctx)
    for layer in (*find_convs(graph), *find_gemms(graph)):
        positions = prod(shapes.get(layer.output.name, (0, 0))[2:])
        if samples * positions < layer.fan_in:
            yield layer.name
