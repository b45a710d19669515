"""The picture of the README: estimated milliseconds before and after, network by network, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from .recipes import ORIGINAL, measurements
from .results import after_ms, best

TITLE = "Milliseconds on a Jetson AGX Xavier, estimated: FP16 before (grey), after (blue); the metric in percent"
FONT = 'font-family="sans-serif" font-size="13"'
WIDTH, LEFT, RIGHT, ROW, BAR, TOP = 760, 160, 190, 40, 13, 46
BEFORE, AFTER, INK, PAPER = "#b0b7c3", "#2f6fde", "#24292f", "#ffffff"


def networks() -> str:
    """A pair of bars for each network: FP16 as it came, and what the best recipe leaves."""
    rows = list(_rows())
    height = TOP + ROW * len(rows) + 10
    longest = max(before for _, before, _, _ in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{PAPER}"/>',
        text(14, 26, TITLE),
    ]
    for index, row in enumerate(rows):
        parts += _pair(TOP + ROW * index, row, (WIDTH - LEFT - RIGHT) / longest)
    return "\n".join([*parts, "</svg>", ""])


def _rows() -> Iterator[tuple[str, float, float, str]]:
    """Network, milliseconds before and after, its metric before and after."""
    for network, lines in measurements().items():
        original, chosen = lines[ORIGINAL], best(lines)
        figures = f"{original['metric']} {original['figure']:.1f} → {chosen['figure']:.1f}"
        yield network.partition(",")[0], original["ms_fp16"], after_ms(chosen, original), figures


def _pair(top: int, row: tuple[str, float, float, str], scale: float) -> list[str]:
    name, before, after, figures = row
    return [
        text(14, top + 18, name),
        *_bar(top, before, scale, BEFORE),
        *_bar(top + BAR + 2, after, scale, AFTER),
        text(WIDTH - 14, top + 18, figures, "end"),
    ]


def _bar(top: int, ms: float, scale: float, colour: str) -> list[str]:
    width = round(ms * scale, 1)
    label = f'<text x="{LEFT + width + 4:.1f}" y="{top + 11}" fill="{INK}" font-size="11">{ms:.2f}</text>'
    return [f'<rect x="{LEFT}" y="{top}" width="{width}" height="{BAR}" fill="{colour}"/>', label]


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{INK}" text-anchor="{anchor}">{escape(words)}</text>'
