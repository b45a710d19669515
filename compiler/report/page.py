"""The report as one HTML file that needs nothing else: no network, no fonts, no libraries.

`page.html` is the template, `page.css` and `page.js` go into it as they are. Everything that comes from the model or
the user is escaped by the template engine or in `plots`.
"""

from __future__ import annotations

from html import escape
from pathlib import Path, PurePath
from typing import Any

from . import events, notes, to_json
from .drawings import frontier_drawings, int8_drawings, layer_drawings, search_drawings, training_drawings
from .fields import Report
from .formatting import figure, humanized, milliseconds, percent, short
from .frontier import Frontier
from .outputs import output_table
from .plots import error_axes
from .rows import rows
from .sizes import SizeLine, checked, size_lines
from .thumbnails import Thumbnail, curve_drawings, forms, spread_drawings

FIRST = 12
"""So many small drawings are shown at once, the others when asked for."""


INT8_COSTS = ("int8_loss", "int8_divergence", "ms_saved")


def written_as(path: Path, report: Report) -> str:
    """The report as the suffix of `path` asks: HTML for .html and .htm, otherwise JSON."""
    return to_html(report) if path.suffix.lower() in (".html", ".htm") else to_json(report)


def to_html(report: Report, frontier: Frontier | None = None) -> str:
    """The report as a page, with a frontier of the same network, if there is one."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    loader = FunctionLoader(_file)
    engine = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    engine.filters.update(short=short, percent=percent, ms=milliseconds, humanized=humanized, figure=figure)
    return engine.get_template("page.html").render(_values(report, frontier))


def overview(report: Report) -> str:
    """The sizes before and after as a short HTML table, for notebooks."""
    body = "".join(
        f"<tr><td>{escape(line.name)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(line))}</tr>"
        for line in size_lines(report)
    )
    head = "<tr><th></th><th>before</th><th>after</th><th>kept</th></tr>"
    caption = f"<caption>{escape(_name(report))}: <code>{escape(report['pipeline'])}</code></caption>"
    return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _cells(line: SizeLine) -> tuple[str, str, str]:
    return line.before, line.after, line.share


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _name(report: Report) -> str:
    return PurePath(report["model"]).name if report["model"] else "model"


def _values(report: Report, frontier: Frontier | None) -> dict[str, Any]:
    table, lines = rows(report), size_lines(report)
    known = tuple(frontier_drawings(frontier)) if frontier is not None else ()
    return {
        "report": report,
        "name": _name(report),
        "lines": lines,
        "outputs": output_table(report),
        "notes": [*events(report), *notes(report)],
        "layers": [*layer_drawings(table), *int8_drawings(report)],
        "histories": [*search_drawings(report), *known, *training_drawings(report)],
        "groups": [group for group in _groups(report) if group["drawings"]],
        "axes": error_axes(),
        "forms": forms(report),
        "rows": table,
        "columns": _columns(table),
        "actions": sorted({action for row in table for action in row.actions}),
        "passes": [(entry, checked(report, entry)) for entry in report["passes"]],
        "first": FIRST,
    }


def _groups(report: Report) -> list[dict[str, Any]]:
    curves = (
        "Error curves",
        "What each layer would lose at every size in the network that entered the pass, and the chosen size with what "
        "it loses in the compressed one. Both axes are the same for every layer; those that lose most come first.",
        curve_drawings(report),
    )
    activations = (
        "Activation ranges",
        "Values |x| on the calibration data (counts on a logarithmic scale) and the range that INT8 keeps; what lies "
        "beyond is clipped. Those that are clipped most come first.",
        spread_drawings(report, "activation"),
    )
    weights = (
        "Weight ranges",
        "Weights |w| (counts on a logarithmic scale); under the axis the ranges of their output channels.",
        spread_drawings(report, "weight"),
    )
    return [_group(*each) for each in (curves, activations, weights)]


def _group(title: str, note: str, drawings: list[Thumbnail]) -> dict[str, Any]:
    return {"title": title, "note": note, "drawings": drawings, "key": title.split()[0].lower()}


def _columns(table: list[Any]) -> set[str]:
    """The columns that have something in them."""
    costs = (*INT8_COSTS, "ms_before", "ms_after", "measured_before", "measured", "macs_before")
    optional = ("form", "size", "error", "int8_error", *costs)
    return {name for name in optional if any(getattr(row, name) not in (None, "") for row in table)}
