"""`onnx-compress compare A.onnx B.onnx --data D`: where two models differ, worst layers first."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..compiler.errors import UsageError
from .options import AsJson, Data, Preprocess

if TYPE_CHECKING:
    from rich.console import Console

    from ..drivers.compare import Comparison, Difference


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="The ONNX file to measure against: the original.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The other.")],
    data: Data,
    samples: Annotated[int, typer.Option(min=1, help="How many samples, from the first.")] = 64,
    preprocess: Preprocess = None,
    report: Annotated[
        Path | None, typer.Option(help="The JSON report of the run that wrote B: it maps the nodes of B to those of A.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many layers are printed; --json has all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Compare the outputs and the layers of two models on the same samples, worst layers first."""
    from ..compiler.graph.io import load
    from ..drivers.compare import compare_models
    from ..runtime.data import load_samples
    from .console import progress_bars, results

    one, two, origins = load(first), load(second), read_origins(report)
    found = load_samples(one.graph, data, preprocess, samples)
    with progress_bars(quiet=as_json) as progress:
        comparison = compare_models(one, two, found, origins, progress=progress)
    if as_json:
        figures = dataclasses.asdict(comparison)
        typer.echo(json.dumps({"first": str(first), "second": str(second), **figures, "notes": found.notes}))
        return
    console = results()
    show(console, comparison, top)
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
    """The outputs, then the worst layers."""
    from .summary import percent

    for entry in found.outputs:
        same = "" if entry.agreement is None else f", agreement {percent(entry.agreement)}"
        line = f"output {entry.tensor}: relative error {entry.error:.3g}, at most {entry.largest:.3g}{same}"
        console.print(f"{line} ({found.samples} samples)", soft_wrap=True)
    _show_layers(console, found.layers[:top])
    if len(found.layers) > top:
        console.print(f"and {len(found.layers) - top} more: --top, or --json for all")
    if found.apart:
        names = ", ".join(found.apart[:5]) + (", ..." if len(found.apart) > 5 else "")
        console.print(f"not compared, of different shape or no floats: {names}", soft_wrap=True)


def _show_layers(console: Console, layers: list[Difference]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for heading, side in (("layer", "left"), ("", "left"), ("relative error", "right"), ("largest", "right")):
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for entry in layers:
        table.add_row(entry.node or entry.tensor, entry.op, f"{entry.error:.3g}", f"{entry.largest:.3g}")
    console.print(table)
