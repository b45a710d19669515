"""`onnx-compress frontier MODEL --data D`: how good the model is at several sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..compiler.pipeline.options import RunOptions
from .options import AsJson, Quiet, takes_options

if TYPE_CHECKING:
    from rich.console import Console

    from ..compiler.report.frontier import Frontier

COMPARED = ("agreement", "pixels", "error")
"""Metrics that compare with the original, of which the original needs no mention."""


@takes_options("frontier", data=...)
def frontier(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ONNX file to compress.")],
    options: RunOptions,
    method: Annotated[
        str, typer.Option(help="A pass without its budget, and what follows it: basis,quantize.")
    ] = "basis",
    budget: Annotated[Literal["macs", "latency"], typer.Option(help="What is varied.")] = "macs",
    points: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 8,
    low: Annotated[float, typer.Option(min=0, max=1, help="The smallest share.")] = 0.3,
    high: Annotated[float, typer.Option(min=0, max=1, help="The largest share.")] = 0.9,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON; .csv and .svg appear beside it.")] = None,
    eval_data: Annotated[str | None, typer.Option(help="Samples to judge on; default: half of --data.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure how good a model is at several sizes.

    By accuracy, agreement or a metric of your own, on samples that no fit has seen. Finished
    points are kept: an interrupted run goes on where it stopped.
    """
    from .console import progress_bars, results

    options = replace(options, output=None if output is None else str(output))
    with progress_bars(quiet) as progress:
        with progress("start", 1) as advance:
            from ..drivers.frontier import FrontierRequest, run_frontier

            advance()
        request = FrontierRequest(eval_data, budget, points, low, high)
        found = run_frontier(model, method, request, options, progress)
    if as_json:
        typer.echo(json.dumps(found))
    elif not quiet:
        show(results(), found, output)


def show(console: Console, found: Frontier, output: Path | None) -> None:
    """A line per point, and what was assumed."""
    from ..compiler.report.formatting import percent, rated
    from ..compiler.report.frontier import quantity

    shown = quantity(found)
    word = "top-1" if shown.key == "top1" else shown.metric
    console.print(f"{found['budget']:>8}  {'MACs':>8}  {'latency':>8}  {word:>9}")
    for point in found["points"]:
        share = percent(point.get("share", 0.0))
        if "unreachable" in point:
            console.print(f"{share:>8}  {point['unreachable']}", soft_wrap=True)
            continue
        deviation = point.get("deviation") if shown.key == "value" else None
        cells = percent(point.get("macs_kept")), percent(point.get("latency_kept"))
        value = rated(shown.metric, point.get(shown.key), deviation)
        console.print(f"{share:>8}  {cells[0]:>8}  {cells[1]:>8}  {value:>9}")
    whole = rated(shown.metric, found["original"][shown.key])
    before = "" if shown.key == "value" and shown.metric in COMPARED else f"; the original: {word} {whole}"
    judged = "samples of the metric's own" if shown.own else f"{found['judged_on']} others"
    console.print(f"fitted on {found['fitted_on']} samples, judged on {judged}{before}")
    for note in found["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
    if output is not None:
        console.print(f"wrote {output}, .csv and .svg", soft_wrap=True)
