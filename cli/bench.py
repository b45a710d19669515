"""`onnx-compress bench A.onnx B.onnx`: how long models take here, beside each other."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import AsJson

if TYPE_CHECKING:
    from rich.console import Console

    from ..runtime.bench import Timed

ROW = "{:>10}  {:>20}  {:>12}  {:>14}  {}"


def bench(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help="ONNX files; ratios are to the first.")],
    batch: Annotated[int | None, typer.Option(min=1, help="Samples per run; default: as exported, or 1.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of onnxruntime, on the CPU; at most one per core.")] = 1,
    provider: Annotated[Literal["cpu", "cuda", "tensorrt"], typer.Option(help="Of onnxruntime.")] = "cpu",
    runs: Annotated[int, typer.Option(min=2, max=10_000, help="Rounds; in each every model runs once.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Time models side by side with onnxruntime.

    Runs in turns; medians, and ratios to the first model.
    """
    from .console import progress_bars, results

    with progress_bars(quiet=as_json) as progress:
        with progress("start", 1) as advance:
            from ..runtime.bench import bench as run

            advance()
        found = run(models, batch, threads, provider, runs, progress=progress)
    if as_json:
        settings = {"batch": batch, "threads": threads, "provider": provider, "runs": runs}
        typer.echo(json.dumps({**settings, "models": [dataclasses.asdict(entry) for entry in found]}))
    else:
        show(results(), found)


def show(console: Console, found: list[Timed]) -> None:
    """A line per model."""
    console.print(ROW.format("median ms", "quartiles", "of the first", "95 % interval", "model"), style="bold")
    for entry in found:
        spread, interval = (" to ".join(f"{value:.3f}" for value in pair) for pair in (entry.quartiles, entry.interval))
        row = ROW.format(f"{entry.median:.3f}", spread, f"{entry.ratio:.3f}", interval, entry.model)
        console.print(row, soft_wrap=True)
