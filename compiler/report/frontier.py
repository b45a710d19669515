"""A frontier: how good a network is at several sizes; as JSON, as a table (CSV) and as a drawing (SVG).

    {"schema": 1, "model": "net.onnx", "method": "basis", "budget": "macs", "target": "xavier", "fitted_on": 1024,
     "judged_on": 1024, "original": {...}, "points": [{"share": 0.5, "pipeline": "basis:macs=0.5", ...}, ...]}

Shares and accuracies lie in [0, 1]; `macs` are those of the Conv layers and `latency_ms` the time of one sample. A
point that cannot be reached has its `share` and the reason in `unreachable`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TypedDict

from .chart import Panel, Series, draw

SCHEMA = 1


class FrontierSize(TypedDict):
    """A network; `macs` and `latency_ms` are null where nothing tells them, `top1` without labels."""

    macs: int | None
    latency_ms: float | None
    top1: float | None


class FrontierPoint(TypedDict, total=False):
    """A compressed network; `agreement` is with the original, null where the outputs are no class scores."""

    share: float
    pipeline: str
    macs: int | None
    macs_kept: float | None
    latency_ms: float | None
    latency_kept: float | None
    top1: float | None
    agreement: float | None
    output_error: float
    seconds: float
    unreachable: str


class Frontier(TypedDict):
    """`fitted_on` and `judged_on` are numbers of samples; no sample is in both."""

    schema: int
    model: str | None
    method: str
    budget: str
    target: str
    latency: str
    fitted_on: int
    judged_on: int
    original: FrontierSize
    points: list[FrontierPoint]


COLUMNS = [name for name in FrontierPoint.__annotations__ if name != "unreachable"]


def to_json(frontier: Frontier) -> str:
    return json.dumps(frontier, indent=1) + "\n"


def to_csv(frontier: Frontier) -> str:
    """A row per point that was reached."""
    out = io.StringIO()
    table = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(_reached(frontier))
    return out.getvalue()


def to_svg(frontier: Frontier) -> str:
    """Accuracy or, without labels, agreement against the MACs, and against the latency where it is known."""
    labelled = frontier["original"]["top1"] is not None
    word = "top-1 accuracy" if labelled else "agreement with the original"
    whole = frontier["original"]["top1"] if labelled else 1.0
    axes = {"MACs kept": "macs_kept", f"latency kept ({frontier['latency']})": "latency_kept"}
    panels = [
        Panel(label, word, found)
        for label, key in axes.items()
        if (found := _series(_reached(frontier), key, "top1" if labelled else "agreement", whole)).points
    ]
    return draw(f"{frontier['method']}: {frontier['model'] or 'model'}", panels)


def _reached(frontier: Frontier) -> list[FrontierPoint]:
    return [point for point in frontier["points"] if "unreachable" not in point]


def _series(points: Sequence[FrontierPoint], across: str, up: str, whole: float | None) -> Series:
    """Percentages, by what is kept; `whole` is the original's."""
    pairs = [(point.get(across), point.get(up), str(point.get("pipeline"))) for point in points]
    known = [(100 * float(str(x)), 100 * float(str(y)), label) for x, y, label in pairs if None not in (x, y)]
    return Series(sorted(known), None if whole is None else 100 * whole)
