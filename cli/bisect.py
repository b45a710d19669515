"""`onnx-compress bisect MODEL -p PIPELINE --check 'agreement>=0.95'`: what breaks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    AsJson,
    Exclude,
    Include,
    Jobs,
    OptionalData,
    Overrides,
    Pipeline,
    Plugins,
    Preprocess,
    Seed,
    Target,
)

if TYPE_CHECKING:
    from ..drivers.culprit import Culprit


def bisect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX file to compress.")],
    check: Annotated[
        str, typer.Option(help="agreement>=X, accuracy>=X, error<=X, or a command that exits 0 where {} is good.")
    ],
    pipeline: Pipeline = "basis,quantize",
    folder: Annotated[Path, typer.Option(help="Where the folder with both models is written.")] = Path("."),
    target: Target = "xavier",
    data: OptionalData = None,
    samples: Annotated[int, typer.Option(min=1, help="How many samples are used, from the first.")] = 1024,
    labels: Annotated[str | None, typer.Option(help="The array of the labels, for accuracy.")] = None,
    preprocess: Preprocess = None,
    include: Include = None,
    exclude: Exclude = None,
    overrides: Overrides = None,
    plugin: Plugins = None,
    no_prepare: Annotated[bool, typer.Option("--no-prepare", help="As in a compression.")] = False,
    no_legalize: Annotated[bool, typer.Option("--no-legalize", help="As in a compression.")] = False,
    jobs: Jobs = 1,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find the pass, and the node it rewrites, that makes a compressed model fail a check."""
    from ..api import bisect as run
    from .console import progress_bars, results

    with progress_bars(quiet=as_json) as progress:
        found, written = run(
            model,
            pipeline,
            check=check,
            folder=folder,
            target=target,
            data=data,
            samples=samples,
            labels=labels,
            preprocess=preprocess,
            include=include,
            exclude=exclude,
            overrides=overrides or [],
            plugins=plugin or [],
            prepare=not no_prepare,
            legalize=not no_legalize,
            jobs=jobs,
            seed=seed,
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps({**found.figures(), "folder": str(written)}))
    else:
        results().print(f"{sentence(found)}\n{written} holds both models", soft_wrap=True)


def sentence(found: Culprit) -> str:
    """pass 4 'basis', node 'conv7' (3 of 20 that it rewrites)"""
    place = f"pass {found.position} '{found.entry}'"
    if found.node is None:
        return f"{place} breaks it; {found.reason}"
    return f"{place} breaks it at node '{found.node}', {found.number} of the {found.nodes} that it rewrites"
