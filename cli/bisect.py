"""`onnx-compress bisect MODEL -p PIPELINE --check 'agreement>=0.95'`: what breaks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..compiler.pipeline.options import RunOptions
from .options import AsJson, Pipeline, takes_options

if TYPE_CHECKING:
    from ..drivers.culprit import Culprit


@takes_options("bisect")
def bisect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX file to compress.")],
    check: Annotated[
        str,
        typer.Option(help="metric>=X, agreement>=X, accuracy>=X, error<=X, or a command; 0 says {} is good."),
    ],
    options: RunOptions,
    pipeline: Pipeline = "basis,quantize",
    folder: Annotated[Path, typer.Option(help="Where the folder with both models is written.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Find the pass and the node that make a model fail a check."""
    from .console import progress_bars, results

    with progress_bars(quiet=as_json) as progress:
        with progress("start", 1) as advance:
            from ..drivers.bisect import run_bisect

            advance()
        found, written = run_bisect(model, pipeline, check, folder, options, progress)
    if as_json:
        typer.echo(json.dumps({**found.figures(), "folder": str(written)}))
    else:
        console = results()
        console.print(f"{sentence(found)}\n{written} holds both models", soft_wrap=True)
        for note in found.notes:
            console.print(f"note: {note}", soft_wrap=True)


def sentence(found: Culprit) -> str:
    """pass 4 'basis', node 'conv7' (3 of 20 that it rewrites)"""
    place = f"pass {found.position} '{found.entry}'"
    if found.node is None:
        return f"{place} breaks it; {found.reason}"
    return f"{place} breaks it at node '{found.node}', {found.number} of the {found.nodes} that it rewrites"
