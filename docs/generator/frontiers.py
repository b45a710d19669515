"""What time costs in quality, method by method, from `benchmarks/results/frontiers.jsonl`: as a table, and as SVG.

A line of that file is what `METHOD:latency=SHARE,quantize` made of a network: its `ms` by the estimate, and its figure
with INT8 kernels; that of `quantize` alone is the end of every curve. What a method cannot reach has no figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx_compress.compiler.report.chart import Axis, round_axis

from .drawing import FONT, PAPER, text
from .markdown import table
from .recipes import Line
from .results import PEERS, TASKS, stored

ALONE = "quantize"
STROKES = {"fast": ("#9ec5fe", 7), "basis": ("#8250df", 2), "prune": ("#bf8700", 2), "depth": ("#1a7f37", 2)}
"""By method, colour and width; those drawn last lie on top: `fast` may do what another does."""
TITLE = (
    "What is kept (percent) over the time on a Jetson AGX Xavier by the estimate, as a share of INT8 alone (percent)"
)
WIDTH, HEIGHT, ACROSS, TOP = 380, 230, 2, 66
LEFT, RIGHT, HEAD, FOOT = 44, 16, 26, 30
GRID = "#d8dee4"
Curves = Mapping[str, Sequence[tuple[float, float]]]
"""By method, the points (share of the time of INT8 alone, figure), the slowest first."""


def measured() -> str:
    """A row for every network and share of the time, a column per method: the figure, at the milliseconds reached."""
    rows = [row for network, lines in by_network().items() for row in _rows(network, lines)]
    return table(("network", "INT8 alone", "asked for", *STROKES), rows)


def drawn() -> str:
    """A pair of axes for each network, a curve for each method."""
    networks = {network: curves(lines) for network, lines in by_network().items()}
    width, height = ACROSS * WIDTH, TOP + -(-len(networks) // ACROSS) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT}>',
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
        text(14, 24, TITLE),
        *_legend(),
    ]
    for index, (network, known) in enumerate(networks.items()):
        left, top = WIDTH * (index % ACROSS), TOP + HEIGHT * (index // ACROSS)
        parts += [f'<g transform="translate({left} {top})">', *_panel(network, known), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def by_network() -> dict[str, list[Line]]:
    """Lines by the network's full name, in the order of the other tables; of networks that have been measured."""
    lines: list[Line] = [*stored("frontiers")]
    found = {network: [line for line in lines if line["network"] == name] for network, name in PEERS.items()}
    return {network: own for network, own in found.items() if own}


def curves(lines: Sequence[Line]) -> Curves:
    """Of one network."""
    whole = next(line for line in lines if line["method"] == ALONE)
    start = (1.0, figure(whole))
    found: dict[str, Sequence[tuple[float, float]]] = {}
    for method in STROKES:
        own = [line for line in lines if line["method"] == method and "failed" not in line]
        points = {(line["ms"] / whole["ms"], figure(line)) for line in own}
        if points:
            found[method] = [start, *sorted(points, reverse=True)]
    return found


def figure(line: Line) -> float:
    """With INT8 kernels, in percent."""
    return next(line[task + end] for end in ("_fused", "") for task in TASKS if task + end in line)


def _rows(network: str, lines: Sequence[Line]) -> Iterator[list[str]]:
    known = {(line["method"], line["share"]): line for line in lines}
    first = [network, _cell(known[ALONE, None])]
    for share in dict.fromkeys(line["share"] for line in lines if line["share"] is not None):
        yield [*first, share, *(_cell(known.get((method, share))) for method in STROKES)]
        first = ["", ""]


def _cell(line: Line | None) -> str:
    if line is None:
        return ""
    return "not reached" if "failed" in line else f"{figure(line):.1f} at {line['ms']:.3f}"


def _legend() -> Iterator[str]:
    for index, (method, (colour, width)) in enumerate(STROKES.items()):
        at = LEFT + 90 * index
        yield f'<line x1="{at}" x2="{at + 22}" y1="46" y2="46" stroke="{colour}" stroke-width="{width}"/>'
        yield text(at + 28, 50, method)


def _panel(network: str, known: Curves) -> Iterator[str]:
    points = [point for curve in known.values() for point in curve]
    x = round_axis([100 * share for share, _ in points], LEFT, WIDTH - RIGHT)
    y = round_axis([value for _, value in points], HEIGHT - FOOT, HEAD)
    yield text(LEFT, 16, network.partition(",")[0])
    yield from _grid(x, y)
    for method, curve in known.items():
        placed = [(x.at(100 * share), y.at(value)) for share, value in curve]
        path = " ".join(f"{a},{b}" for a, b in placed)
        colour, width = STROKES[method]
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        for (a, b), (share, value) in zip(placed, curve, strict=True):
            name = f"<title>{method}: {value:.1f} at {100 * share:.0f} %</title>"
            yield f'<circle cx="{a}" cy="{b}" r="{width / 2 + 2:g}" fill="{colour}">{name}</circle>'


def _grid(x: Axis, y: Axis) -> Iterator[str]:
    for value in x.ticks():
        at = x.at(value)
        yield f'<line x1="{at}" x2="{at}" y1="{HEAD}" y2="{HEIGHT - FOOT}" stroke="{GRID}"/>'
        yield text(at, HEIGHT - FOOT + 16, f"{value:g}", "middle")
    for value in y.ticks():
        at = y.at(value)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="{GRID}"/>'
        yield text(LEFT - 6, at + 4, f"{value:g}", "end")
