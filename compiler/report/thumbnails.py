"""Small drawings, one per layer or tensor: error curves with the chosen point, histograms with the chosen range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .fields import CurveReport, PassReport, Report, SpreadReport
from .formatting import percent, short
from .plots import Curve, Point, error_curves, histogram


@dataclass(frozen=True)
class Thumbnail:
    """One of many thumbnail drawings; the largest `weight` comes first."""

    name: str
    note: str
    svg: str
    weight: float


def curve_drawings(report: Report) -> list[Thumbnail]:
    """The error curves of each layer, with the point that was chosen; those that lose most first."""
    order = forms(report)
    found: list[Thumbnail] = []
    for entry in report["passes"]:
        by_layer: dict[str, list[CurveReport]] = {}
        for curve in entry["traces"]["curves"]:
            by_layer.setdefault(curve["origin"], []).append(curve)
        found += [_curves(name, curves, order, entry) for name, curves in by_layer.items()]
    return sorted(found, key=lambda thumbnail: -thumbnail.weight)


def _curves(name: str, curves: Sequence[CurveReport], order: Sequence[str], entry: PassReport) -> Thumbnail:
    lines = [Curve(order.index(curve["form"]), list(_points(curve))) for curve in curves]
    chosen = next((each for each in entry["decisions"] if each["origin"] == name and "size" in each["figures"]), None)
    if chosen is None:
        return Thumbnail(name, "left dense", error_curves(name, lines, None), 0.0)
    figures = chosen["figures"]
    error, macs = float(figures.get("error") or 0.0), float(figures.get("macs_after") or 0.0)
    said = f"{figures.get('form', '')} {figures['size']} of {figures.get('full_size', '?')}"
    title = f"chosen: {said}, error {percent(error)} as rewritten"
    point = Point(100 * macs / max(curves[0]["dense"], 1), 100 * error, title)
    return Thumbnail(name, f"{said}, {percent(error)}", error_curves(name, lines, point), error)


def _points(curve: CurveReport) -> Iterator[tuple[float, float, str]]:
    for size, macs, error in zip(curve["sizes"], curve["macs"], curve["errors"], strict=True):
        if error is not None:
            title = f"{curve['form']} {size}: error {percent(error)}, {short(macs)} MACs"
            yield 100 * macs / max(curve["dense"], 1), 100 * error, title


def forms(report: Report) -> list[str]:
    """The forms that curves were drawn of, in the order of their colours."""
    every = [curve["form"] for entry in report["passes"] for curve in entry["traces"]["curves"]]
    return list(dict.fromkeys(every))


def spread_drawings(report: Report, kind: str) -> list[Thumbnail]:
    """The histograms of the activations or weights; those that are clipped most first."""
    every = [each for entry in report["passes"] for each in entry["traces"]["spreads"] if each["kind"] == kind]
    return sorted((_spread(each) for each in every), key=lambda thumbnail: -thumbnail.weight)


def _spread(spread: SpreadReport) -> Thumbnail:
    low, high, top = spread["low"], spread["high"], spread["top"]
    clipped = _beyond(spread["counts"], top, high)
    said = f"range {high:.3g}" if low == high else f"{low:.2g} to {high:.2g} by channel"
    weight = spread["kind"] == "weight"
    note = said if weight or not clipped else f"{said}, {100 * clipped:.2g} % clipped"
    svg = histogram(spread["tensor"], "|w|" if weight else "|x|", spread["counts"], top, low, high)
    return Thumbnail(spread["tensor"], note, svg, 0.0 if weight else clipped)


def _beyond(counts: Sequence[int], top: float, high: float) -> float:
    """The share of values in bins that start beyond the range."""
    step = top / max(len(counts), 1)
    return sum(count for index, count in enumerate(counts) if index * step >= high) / max(sum(counts), 1)
