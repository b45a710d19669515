"""Small drawings without a plotting library: points joined by a line, as SVG that reads on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, log10
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 48, 52
STYLE = """
text { font: 12px sans-serif; fill: #24292f } .title { font-size: 14px }
.grid { stroke: #d0d7de } .line { stroke: #0969da; fill: none; stroke-width: 2 } .point { fill: #0969da }
.whole { stroke: #57606a; stroke-dasharray: 5 4 } .page { fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #373e47 } .line { stroke: #58a6ff } .point { fill: #58a6ff }
.whole { stroke: #8b949e } .page { fill: #0d1117 } }
"""


@dataclass(frozen=True)
class Series:
    """Points (x in percent, y in `unit`, label), and the y of a dashed line, if any."""

    points: Sequence[tuple[float, float, str]]
    whole: float | None = None
    unit: str = "%"


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    across: str
    up: str
    series: Series


def draw(title: str, panels: Sequence[Panel]) -> str:
    """The panels side by side."""
    width = WIDTH * max(1, len(panels))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
    ]
    for index, panel in enumerate(panels):
        lines += [f'<g transform="translate({index * WIDTH} 0)">', *_panel(panel), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return round(self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low), 1)

    def ticks(self) -> list[float]:
        step = _step(self.high - self.low)
        first = round(self.low / step)
        return [step * index for index in range(first, round(self.high / step) + 1)]


def round_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Widened to round numbers."""
    low, high = min(values), max(values)
    step = _step(max(high - low, 1e-3))
    low, high = step * floor(low / step), -step * floor(-high / step)
    return Axis(low, high if high > low else low + step, start, end)


def _step(width: float) -> float:
    """1, 2 or 5 times a power of ten, about a fifth of `width`."""
    power = 10.0 ** floor(log10(width / 5))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= width / 5 * (1 - 1e-9))


def _panel(panel: Panel) -> Iterator[str]:
    points, whole = panel.series.points, panel.series.whole
    x = round_axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    ups = [point[1] for point in points] + ([] if whole is None else [whole])
    y = round_axis(ups, HEIGHT - BOTTOM, TOP)
    yield from _grid(x, y)
    centre = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{centre}" y="{HEIGHT - 14}" text-anchor="middle">{escape(panel.across)}</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turn = f'transform="rotate(-90 16 {middle})"'
    yield f'<text x="16" y="{middle}" text-anchor="middle" {turn}>{escape(panel.up)}</text>'
    if whole is not None:
        yield f'<line class="whole" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(whole)}" y2="{y.at(whole)}"/>'
    yield f'<polyline class="line" points="{" ".join(f"{x.at(a)},{y.at(b)}" for a, b, _ in points)}"/>'
    for a, b, label in points:
        height = f"{b:.2f} %" if panel.series.unit else f"{b:.4g}"
        name = f"<title>{escape(label)}: {height} at {a:.1f} %</title>"
        yield f'<circle class="point" cx="{x.at(a)}" cy="{y.at(b)}" r="4">{name}</circle>'


def _grid(x: Axis, y: Axis) -> Iterator[str]:
    for value in x.ticks():
        at = x.at(value)
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{at}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:g}</text>'
    for value in y.ticks():
        at = y.at(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4}" text-anchor="end">{value:g}</text>'
