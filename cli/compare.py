"""`onnx-compress compare A.onnx B.onnx --data D`: where two models differ, and where it starts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from ..compiler.errors import UsageError
from .options import AsJson, Data, Preprocess

if TYPE_CHECKING:
    from rich.console import Console

    from ..drivers.compare import Comparison, Difference

WORST = 20
STARTS, RESCALED = "starts here", "scales divided out"


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="The ONNX file to measure against: the original.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The other.")],
    data: Data,
    samples: Annotated[int, typer.Option(min=1, help="How many samples, from the first.")] = 64,
    preprocess: Preprocess = None,
    report: Annotated[
        Path | None, typer.Option(help="The JSON report of the run that wrote B: it maps the nodes of B to those of A.")
    ] = None,
    order: Annotated[
        Literal["worst", "network"], typer.Option(help="Of the layers: worst first, or as A has them.")
    ] = "worst",
    top: Annotated[
        int | None, typer.Option(min=1, help="How many layers are printed: 20, in network order all; --json has all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two models layer by layer, and find where errors start.

    Outputs and layers on the same samples.
    """
    from .console import progress_bars, results

    with progress_bars(quiet=as_json) as progress:
        with progress("reading", 1) as advance:
            from ..compiler.graph.io import load
            from ..drivers.compare import compare_models
            from ..runtime.data import load_samples

            one, two, origins = load(first), load(second), read_origins(report)
            found = load_samples(one.graph, data, preprocess, samples)
            advance()
        comparison = compare_models(one, two, found, origins, progress=progress, order=order)
    if as_json:
        figures = dataclasses.asdict(comparison)
        typer.echo(json.dumps({"first": str(first), "second": str(second), **figures, "notes": found.notes}))
        return
    console = results()
    show(console, comparison, top or (WORST if order == "worst" else len(comparison.layers)))
    for note in found.notes:
        console.print(f"note: {note}", soft_wrap=True)


def read_origins(report: Path | None) -> dict[str, str]:
    """Node of the compressed model -> node of the original; `UsageError` where the file has no such mapping."""
    if report is None:
        return {}
    from ..compiler.files import read_json

    fix = "give what --report RUN.json wrote"
    try:
        content = read_json(report)
    except (OSError, ValueError) as error:
        raise UsageError(f"not a report: {error}", str(report), fix) from error
    origins = cast("dict[str, Any]", content).get("origins") if isinstance(content, dict) else None
    if not isinstance(origins, dict):
        raise UsageError("not a report: it maps no nodes", str(report), fix)
    return cast("dict[str, str]", origins)


def show(console: Console, found: Comparison, top: int) -> None:
    """The outputs, where their error starts, and the first `top` layers."""
    from ..compiler.report.formatting import counted, percent

    for entry in found.outputs:
        same = "" if entry.agreement is None else f", agreement {percent(entry.agreement)}"
        line = f"output {entry.tensor}: relative error {entry.error:.3g}, at most {entry.largest:.3g}{same}"
        console.print(f"{line} ({counted(found.samples, 'sample')})", soft_wrap=True)
    console.print(_start(found), soft_wrap=True)
    _show_layers(console, found.layers[:top], found.start)
    if len(found.layers) > top:
        console.print(f"and {len(found.layers) - top} more: --top, or --json for all")
    if found.apart:
        names = ", ".join(found.apart[:5]) + (", ..." if len(found.apart) > 5 else "")
        console.print(f"not compared, of different shape or no floats: {names}", soft_wrap=True)


def _start(found: Comparison) -> str:
    """Where the error starts, as a sentence."""
    if not any(entry.error for entry in found.outputs):
        return "the outputs do not differ"
    first = next((entry for entry in (*found.layers, *found.outputs) if entry.tensor == found.start), None)
    if first is None:
        return "the error builds up: no single layer adds half of that of the outputs"
    name = first.node or first.tensor
    return f"the error starts in '{name}': {first.error:.3g}, what it reads has {first.inherited:.3g}"


def _show_layers(console: Console, layers: list[Difference], start: str | None) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    headings = (("layer", "left"), ("", "left"), ("relative error", "right"), ("inherited", "right"))
    for heading, side in (*headings, ("largest", "right"), ("", "left")):
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for entry in layers:
        figures = ("" if value is None else f"{value:.3g}" for value in (entry.error, entry.inherited, entry.largest))
        remarks = [STARTS] * (entry.tensor == start) + [RESCALED] * entry.rescaled
        table.add_row(entry.node or entry.tensor, entry.op, *figures, ", ".join(remarks))
    console.print(table)
