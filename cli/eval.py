"""`onnx-compress eval MODEL --data D`: accuracy where labels exist, and how far it is from another model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from .options import AsJson, MaybeData, Metric, Preprocess

NOTHING = (
    "how good they are takes --labels KEY, or --against OTHER.onnx, or a --metric of your own; of a folder of images "
    "--labels folders"
)
UNUSED = "the labels are not used: the first output is no row of class scores"


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ONNX file to measure.")],
    data: MaybeData = None,
    against: Annotated[str | None, typer.Option(help="The model to compare with: the original.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="How many samples, from the first; default: all.")] = None,
    labels: Annotated[str | None, typer.Option(help="The array of the labels.")] = None,
    metric: Metric = "auto",
    preprocess: Preprocess = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model, or its distance from another.

    By top-1 and top-5 where there are labels, by the outputs, or by a metric of your own.
    """
    from .console import progress_bars

    with progress_bars(quiet=as_json) as progress:
        with progress("reading", 1) as advance:
            from ..compiler.graph.io import load
            from ..drivers.evaluate import evaluate_model
            from ..runtime.data import load_samples

            loaded = load(model)
            found = None if data is None else load_samples(loaded.graph, data, preprocess, samples, labels)
            other = None if against is None else load(against)
            advance()
        measured = evaluate_model(loaded, other, found, metric, progress)
    count, notes = (None, ()) if found is None else (found.samples, found.notes)
    figures = {"model": model, "data": data, "samples": count, **measured}
    if found is not None and found.labels is not None and "top1" not in figures:
        notes = (*notes, UNUSED)
    if as_json:
        typer.echo(json.dumps({**figures, "notes": notes}))
    else:
        _show(figures, notes)


def _show(figures: Mapping[str, Any], notes: Sequence[str]) -> None:
    from ..compiler.report.formatting import counted
    from .console import results

    console = results()
    seen = "" if figures["samples"] is None else f" on {counted(figures['samples'], 'sample')}"
    console.print(f"{figures['model']}: {', '.join(_parts(figures))}{seen}", soft_wrap=True)
    for name, loss in figures.get("by_output", {}).items():
        console.print(f"  {name}: {_lost(figures['metric'], loss)}", soft_wrap=True)
    for name, output in figures.get("outputs", {}).items():
        console.print(f"  {name}: {_described(output)}", soft_wrap=True)
    for note in (*notes, *([NOTHING] if "outputs" in figures else [])):
        console.print(f"note: {note}", soft_wrap=True)


def _parts(figures: Mapping[str, Any]) -> Iterator[str]:
    from ..compiler.report.formatting import percent, rated

    words = {"top1": "top-1", "top5": "top-5", "against_top1": "top-1 of the other"}
    yield from (f"{word} {percent(figures[key])}" for key, word in words.items() if figures.get(key) is not None)
    if "metric" in figures:
        whole = rated(figures["metric"], figures.get("original"))
        value = rated(figures["metric"], figures["value"], figures["deviation"])
        yield f"{figures['metric']} {value}{f' ({whole} of the other)' if whole else ''}"
    if "output_error" in figures:
        yield f"relative output error {figures['output_error']:.3g}"
    if "outputs" in figures:
        yield "outputs"


def _lost(metric: str, loss: float) -> str:
    from ..compiler.report.formatting import rated

    return f"error {rated(metric, loss)}" if metric == "error" else f"{metric} {rated(metric, 1 - loss)}"


def _described(output: Mapping[str, Any]) -> str:
    from ..compiler.report.formatting import percent

    shape = " x ".join(map(str, output["shape"])) or "a number"
    if "chosen" in output:
        return f"{shape}, {output['chosen']} classes are chosen, the most frequent for {percent(output['most'])}"
    return f"{shape}, mean {output['mean']:.3g}, standard deviation {output['deviation']:.3g}"
