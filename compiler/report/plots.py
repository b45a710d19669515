"""The drawings of the page, as SVG without styles of its own: the page's style sheet colours them by class.

    before, after, line, line2, chosen, range, guide     what is drawn
    grid, axis                                            what it is drawn on

Everything that is drawn has a title, which browsers show under the pointer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import log10

from .chart import Axis, round_axis

WIDE, TALL = 640, 256
SMALL, LOW = 240, 174
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 12, 46


@dataclass(frozen=True)
class Bar:
    """One layer in a column chart; None is not drawn."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    title: str
    mark: str = "point"


@dataclass(frozen=True)
class Drawing:
    """A chart. `title` stands above it, `note` under it."""

    title: str
    note: str
    svg: str


def columns(label: str, unit: str, bars: Sequence[Bar], guide: float | None = None) -> str:
    """A column per bar, before and after on top of each other; `guide` is the height of a dashed line."""
    heights = [value for bar in bars for value in (bar.before, bar.after) if value is not None]
    up = round_axis([0.0, *heights, *([] if guide is None else [guide])], TALL - BOTTOM, TOP)
    slot = (WIDE - LEFT - RIGHT) / max(1, len(bars))
    parts = [*_ruled(up, WIDE), _across(f"{len(bars)} layers, from input to output")]
    for index, bar in enumerate(bars):
        parts += _column(bar, LEFT + slot * index, slot, up, unit)
    if guide is not None:
        parts.append(_line("guide", LEFT, WIDE - RIGHT, up.at(guide), up.at(guide)))
    return _svg(WIDE, TALL, f"{label} by layer, {unit}", parts)


def _column(bar: Bar, left: float, slot: float, up: Axis, unit: str) -> Iterator[str]:
    width = min(26.0, slot * 0.8)
    start = left + (slot - width) / 2
    values = [f"{word} {value:.3g} {unit}" for word, value in _values_of(bar)]
    yield f"<g><title>{escape(bar.name)}: {', '.join(values) or 'not known'}</title>"
    yield f'<rect class="slot" x="{left:.1f}" y="{TOP}" width="{slot:.1f}" height="{TALL - TOP - BOTTOM}"/>'
    for kind, value, share in (("before", bar.before, 1.0), ("after", bar.after, 0.6)):
        if value is not None:
            inset = width * (1 - share) / 2
            height = max(up.start - up.at(value), 0.0)
            box = f'x="{start + inset:.1f}" y="{up.at(value):.1f}" width="{width * share:.1f}" height="{height:.1f}"'
            yield f'<rect class="{kind}" {box}/>'
    yield "</g>"


def _values_of(bar: Bar) -> list[tuple[str, float]]:
    pairs = (("before", bar.before), ("after", bar.after))
    if bar.before is None and bar.after is not None:
        return [("", bar.after)]
    return [(word, value) for word, value in pairs if value is not None]


def scatter(across: str, up: str, points: Sequence[Point], joined: bool, guide: float | None = None) -> str:
    """Points, `joined` by a line or not; `guide` is the y of a dashed line."""
    x = round_axis([point.x for point in points], LEFT, WIDE - RIGHT - 8)
    y = round_axis([*(point.y for point in points), *([] if guide is None else [guide])], TALL - BOTTOM, TOP + 4)
    parts = [*_ruled(y, WIDE), *_marked(x), _across(across)]
    if guide is not None:
        parts.append(_line("guide", LEFT, WIDE - RIGHT, y.at(guide), y.at(guide)))
    if joined:
        parts.append(_path("line", [(x.at(point.x), y.at(point.y)) for point in points]))
    for point in points:
        parts.append(_dot(point.mark, x.at(point.x), y.at(point.y), 4.5, point.title))
    return _svg(WIDE, TALL, f"{up} against {across}", parts)


@dataclass(frozen=True)
class Curve:
    """(x, y, title) points; x and y in percent. `form` is the number of its colour."""

    form: int
    points: Sequence[tuple[float, float, str]]


FORMS, TITLES = 4, 8
DECADES = (0.01, 0.1, 1.0, 10.0, 100.0)


ACROSS, UP = Axis(0.0, 100.0, 40, SMALL - 14), Axis(-2.0, 2.0, LOW - 32, 8)


def error_axes() -> str:
    """What all error curves stand on, once for the page."""
    parts = [text for value in DECADES for text in _rule(UP.at(log10(value)), f"{value:g}", SMALL, 40)]
    parts += [_text(ACROSS.at(value), LOW - 18, f"{value}", "middle") for value in (0, 50, 100)]
    parts.append(_text(ACROSS.at(50), LOW - 3, "MACs of the layer, %", "middle", "name"))
    return f'<svg class="shared" aria-hidden="true"><g id="axes">{"".join(parts)}</g></svg>'


def error_curves(name: str, curves: Sequence[Curve], chosen: Point | None) -> str:
    """Error (percent, logarithmic, the same for every layer) against the MACs kept (percent), on `error_axes`."""
    x, y, parts = ACROSS, UP, ['<use href="#axes"/>']
    for curve in curves:
        parts.append(_path(f"line form{curve.form % FORMS}", [(x.at(a), y.at(_log(b))) for a, b, _ in curve.points]))
        every = max(1, len(curve.points) // TITLES)
        parts += [_dot("hover", x.at(a), y.at(_log(b)), 4, title) for a, b, title in curve.points[every - 1 :: every]]
    if chosen is not None:
        parts.append(_dot("chosen", x.at(min(chosen.x, 100.0)), y.at(_log(chosen.y)), 4.5, chosen.title))
    return _svg(SMALL, LOW, f"error of {name}, %", parts)


def _log(value: float) -> float:
    """Within the decades shown."""
    return min(max(log10(max(value, 1e-9)), -2.0), 2.0)


def histogram(name: str, symbol: str, counts: Sequence[int], top: float, low: float, high: float) -> str:
    """Counts (logarithmic) of |x| from 0 to `top`, and the chosen range; where channels differ, all of them from the
    smallest to the largest as a bar under the axis."""
    reach = max(top, high) or 1.0
    x, y = Axis(0.0, reach, 10, SMALL - 10), Axis(0.0, log10(max(10, *counts)) + 0.3, LOW - 36, 8)
    edges = [x.at(top * index / len(counts)) for index in range(len(counts) + 1)]
    heights = [y.at(log10(count) + 0.3) if count else y.start for count in counts]
    steps = "".join(f"V{height:g}H{edge:g}" for height, edge in zip(heights, edges[1:], strict=True))
    parts = [
        f'<path class="bin" d="M{edges[0]:g} {y.start:g}{steps}V{y.start:g}Z"/>',
        _line("axis", 10, SMALL - 10, y.start, y.start),
        _range(x, y, low, high),
        *(_text(x.at(value), LOW - 18, f"{value:.3g}", side) for value, side in ((0.0, "start"), (reach, "end"))),
        _text(SMALL / 2, LOW - 18, symbol, "middle", "name"),
    ]
    return _svg(SMALL, LOW - 12, f"values of {name}", parts)


def _range(x: Axis, y: Axis, low: float, high: float) -> str:
    if low == high:
        box = f'x="{x.at(high) - 1:g}" y="{y.end:g}" width="2" height="{y.start - y.end:g}"'
        return f'<rect class="range" {box}><title>range {high:.4g}</title></rect>'
    box = f'x="{x.at(low):g}" y="{y.start + 1:g}" width="{max(x.at(high) - x.at(low), 2):g}" height="4"'
    return f'<rect class="range" {box}><title>ranges {low:.4g} to {high:.4g}</title></rect>'


def _ruled(up: Axis, width: float) -> Iterator[str]:
    for value in up.ticks():
        yield from _rule(up.at(value), f"{value:g}", width, LEFT)


def _rule(at: float, word: str, width: float, left: float) -> list[str]:
    return [_line("grid", left, width - RIGHT, at, at), _text(left - 6, at + 4, word, "end")]


def _marked(x: Axis) -> Iterator[str]:
    return (_text(x.at(value), TALL - BOTTOM + 16, f"{value:g}", "middle") for value in x.ticks())


def _across(words: str) -> str:
    return _text((LEFT + WIDE) / 2, TALL - 6, words, "middle", "name")


def _text(x: float, y: float, word: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(word)}</text>'


def _line(kind: str, left: float, right: float, start: float, end: float) -> str:
    return f'<line class="{kind}" x1="{left}" x2="{right}" y1="{start}" y2="{end}"/>'


def _path(kind: str, points: Sequence[tuple[float, float]]) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{x:g},{y:g}" for x, y in points)}"/>'


def _dot(kind: str, x: float, y: float, radius: float, title: str) -> str:
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"><title>{escape(title)}</title></circle>'


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
