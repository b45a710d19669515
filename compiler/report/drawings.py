"""What is drawn of a report; a drawing is left out where the report has nothing for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..pipeline.traces import COSTS
from .fields import Report
from .formatting import percent, rated
from .frontier import Frontier, quantity
from .plots import Bar, Drawing, Point, columns, scatter
from .rows import Row

ERRORS = (
    "Output energy lost, relative to the variance of the layer's output, on the inputs that reach the layer once all "
    "before it are rewritten."
)
LOST = (
    "What each layer loses in INT8 by itself, of its outputs' variance, the mean over channels; most lose less than "
    "0.1 %. Layers that stay in float say so under the pointer."
)
IN_FLOAT = ", stays in float"
MACS, INT8 = "macs", "int8"


def layer_drawings(table: Sequence[Row]) -> Iterator[Drawing]:
    """MACs, latency, error and sensitivity, layer by layer."""
    layers = [row for row in table if row.weight is not None or row.macs_before is not None]
    bars = [Bar(row.name, _millions(row.macs_before), _millions(row.macs_after)) for row in layers]
    if any(bar.before is not None for bar in bars):
        yield Drawing("Multiply-accumulates, million", "", columns("MACs", "million", bars))
    bars = [Bar(row.name, row.ms_before, row.ms_after) for row in layers]
    if any(bar.before is not None and bar.after is not None for bar in bars):
        note = "Estimated for the target, with what the engine fuses into each layer."
        yield Drawing("Latency, ms", note, columns("Latency", "ms", bars))
    bars = [Bar(row.name, None, None if row.error is None else 100 * row.error) for row in layers]
    if any(bar.after is not None for bar in bars):
        yield Drawing("Error, %", ERRORS, columns("Error", "%", bars))
    bars = [Bar(row.name, None, row.sensitivity) for row in layers]
    if any(bar.after is not None for bar in bars):
        note = "What a unit of the layer's error does to the outputs; 1 is the average. The budget was divided by it."
        yield Drawing("Sensitivity, times the average", note, columns("Sensitivity", "times average", bars, guide=1.0))


def int8_drawings(report: Report) -> Iterator[Drawing]:
    """What every layer loses in INT8, in the order of the network, also those that stay in float for it."""
    for entry in report["passes"]:
        bars = [
            Bar(f"{each['origin']}{IN_FLOAT if each['action'] == 'skipped' else ''}", None, 100 * float(loss))
            for each in entry["decisions"]
            if isinstance(loss := each["figures"].get("int8_loss"), int | float)
        ]
        if bars:
            yield Drawing("Lost in INT8, %", LOST, columns("Lost in INT8", "%", bars))


def _millions(value: int | None) -> float | None:
    return None if value is None else value / 1e6


SEARCHED = {
    "agreement": (100.0, "agreement, %", "at least"),
    "accuracy_drop": (1.0, "top-1 lost, points", "at most"),
    "error": (1.0, "error of the outputs", "at most"),
    "metric_drop": (1.0, "lost of the metric", ""),
}
"""By rule: what its figures are multiplied with, what they are, on which side of their confidence limit they lie."""


def search_drawings(report: Report) -> Iterator[Drawing]:
    """The networks that a search has tried: how good against how small."""
    for search in (search for entry in report["passes"] for search in entry["traces"]["searches"]):
        factor, unit, side = SEARCHED[search["rule"]]
        cost = search.get("cost", MACS)
        points: list[Point] = []
        for trial in search["tried"]:
            share = trial["macs"] if cost == MACS else trial.get("share", trial["macs"])
            value = f"{factor * trial['value']:.2f} with {percent(share, 1)} of the {COSTS[cost]}"
            bound = f"; {side} {factor * trial['bound']:.2f} with 95 % confidence" if side else ""
            mark = "point" if trial["passed"] else "failed"
            points.append(Point(100 * share, factor * trial["value"], f"{value}{bound}", mark))
        if points:
            judged = "judged on held-out samples" if side else "judged by a metric of the user's"
            note = f"Networks that were tried, {judged}. Dashed: the limit; hollow: beyond it."
            axis = f"{COSTS[cost]} {'taken' if cost == INT8 else 'kept'}, %"
            svg = scatter(axis, unit, points, joined=False, guide=factor * search["allowed"])
            yield Drawing(f"Search: {unit}", note, svg)


def frontier_drawings(frontier: Frontier) -> Iterator[Drawing]:
    """How good the method is at several sizes."""
    shown = quantity(frontier)
    points: list[Point] = []
    for each in frontier["points"]:
        macs, value = each.get("macs_kept"), each.get(shown.key)
        height = shown.drawn(value)
        if macs is not None and height is not None:
            title = f"{each.get('pipeline', '')}: {rated(shown.metric, value)} with {percent(macs, 1)} of the MACs"
            points.append(Point(100 * macs, height, title))
    if points:
        samples = (
            "samples of the metric's own" if shown.own else f"{frontier['judged_on']} samples that no fit has seen"
        )
        note = f"Judged on {samples}. Dashed: the original."
        guide = shown.drawn(frontier["original"][shown.key])
        ordered = sorted(points, key=lambda point: point.x)
        svg = scatter("MACs kept, %", shown.axis, ordered, joined=True, guide=guide)
        yield Drawing(f"Frontier of {frontier['method']}: {shown.axis}", note, svg)


def training_drawings(report: Report) -> Iterator[Drawing]:
    """Loss, and what held-out samples say, by round: an epoch, or a part of a run that counts steps."""
    for entry in report["passes"]:
        for key in ("loss", "divergence", "agreement", "accuracy", "error"):
            points = [Point(x, y, f"round {x:g}: {y:.4g}") for x, y in _rounds(entry["metrics"], key)]
            word = "Training loss" if key == "loss" else f"{key.capitalize()} on held-out samples"
            if points:
                yield Drawing(f"{word}, {entry['name']}", "", scatter("round", key, points, joined=True))


def _rounds(metrics: Mapping[str, Any], key: str) -> list[tuple[float, float]]:
    """(round, value) of `loss_1`, `loss_2`, ..."""
    found = [(name.removeprefix(f"{key}_"), value) for name, value in metrics.items() if name.startswith(f"{key}_")]
    return sorted(
        (float(name), float(value)) for name, value in found if name.isdigit() and isinstance(value, int | float)
    )
