"""A frontier: how good a network is at several sizes; as JSON, as a table (CSV) and as a drawing (SVG).

    {"schema": 3, "model": "net.onnx", "method": "basis", "budget": "macs", "target": "xavier", "fitted_on": 1024,
     "judged_on": 1024, "metric": "agreement", "original": {...}, "points": [{"share": 0.5, ...}, ...]}

Shares and accuracies lie in [0, 1]; `macs` are those of the Conv layers and `latency_ms` the time of one sample, or
of the batch that was asked for; that of the original is in the precision in which points end. A
point that cannot be reached has its `share` and the reason in `unreachable`. Schema 1 had no `metric`, `value`,
`deviation` and `notes`; up to schema 2 the original's latency was that in which it came in.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from .chart import Panel, Series, draw
from .formatting import SHARES

SCHEMA = 3


class FrontierSize(TypedDict):
    """A network; `macs` and `latency_ms` are null where nothing tells them, `top1` without labels; `value` is that of
    the metric."""

    macs: int | None
    latency_ms: float | None
    top1: float | None
    value: float | None


class FrontierPoint(TypedDict, total=False):
    """A compressed network; `value` is that of the metric, `deviation` its standard error, null where it is not known;
    `agreement` the value where that is the metric; `output_error` the distance of all outputs relative to their size.
    """

    share: float
    pipeline: str
    macs: int | None
    macs_kept: float | None
    latency_ms: float | None
    latency_kept: float | None
    metric: str
    value: float
    deviation: float | None
    top1: float | None
    agreement: float | None
    output_error: float | None
    seconds: float
    unreachable: str


class Frontier(TypedDict):
    """`fitted_on` and `judged_on` are numbers of samples; no sample is in both. `notes`: what was assumed."""

    schema: int
    model: str | None
    method: str
    budget: str
    target: str
    latency: str
    fitted_on: int
    judged_on: int
    metric: str
    original: FrontierSize
    points: list[FrontierPoint]
    notes: list[str]


@dataclass(frozen=True)
class Quantity:
    """What networks of a frontier are shown by: top-1 where there are labels and classes, else the metric.

    Attributes:
        key: of the points and of the original.
        name: in words.
        metric: whose values these are.
    """

    key: Literal["top1", "value"]
    name: str
    metric: str

    @property
    def unit(self) -> str:
        return "%" if self.metric in SHARES else ""

    @property
    def own(self) -> bool:
        """Whether it is the user's, who brings samples for it."""
        return self.metric not in (*SHARES, "error")

    @property
    def axis(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def drawn(self, value: float | None) -> float | None:
        """In that unit."""
        return value if value is None or not self.unit else 100 * value


NAMES = {"agreement": "agreement with the original", "pixels": "pixels that agree", "error": "error of the outputs"}
TOP1 = Quantity("top1", "top-1 accuracy", "accuracy")


def quantity(frontier: Frontier) -> Quantity:
    metric = frontier["metric"]
    if frontier["original"]["top1"] is not None and metric in ("agreement", "accuracy"):
        return TOP1
    return Quantity("value", NAMES.get(metric, metric), metric)


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
    """Accuracy or, without labels, the metric against the MACs, and against the latency where it is known."""
    shown = quantity(frontier)
    axes = {"MACs kept": "macs_kept", f"latency kept ({frontier['latency']})": "latency_kept"}
    panels = [
        Panel(f"{label}, %", shown.axis, found)
        for label, key in axes.items()
        if (found := _series(_reached(frontier), key, shown, frontier["original"][shown.key])).points
    ]
    return draw(f"{frontier['method']}: {frontier['model'] or 'model'}", panels)


def _reached(frontier: Frontier) -> list[FrontierPoint]:
    return [point for point in frontier["points"] if "unreachable" not in point]


def _series(points: Sequence[FrontierPoint], across: str, up: Quantity, whole: float | None) -> Series:
    """By what is kept, in percent; `whole` is the original's."""
    pairs = [(point.get(across), up.drawn(point.get(up.key)), str(point.get("pipeline"))) for point in points]
    known = [(100 * float(str(x)), float(str(y)), label) for x, y, label in pairs if None not in (x, y)]
    return Series(sorted(known), up.drawn(whole), up.unit)
