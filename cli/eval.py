"""`onnx-compress eval MODEL --data D`: accuracy where labels exist, agreement with another model otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..compiler.errors import UsageError
from .options import AsJson, Data, Preprocess

if TYPE_CHECKING:
    from ..compiler.graph.io import Model
    from ..runtime.data import Samples


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ONNX file to measure.")],
    data: Data,
    against: Annotated[str | None, typer.Option(help="The model to compare with: the original.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="How many samples, from the first; default: all.")] = None,
    labels: Annotated[str | None, typer.Option(help="The array of the labels.")] = None,
    preprocess: Preprocess = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model: top-1 and top-5, or its agreement with another."""
    from ..compiler.graph.io import load
    from ..runtime.data import load_samples

    loaded = load(model)
    found = load_samples(loaded.graph, data, preprocess, samples, labels)
    if found.labels is None and against is None:
        fix = "--labels KEY, or --against OTHER.onnx; of a folder of images --labels folders"
        raise UsageError("no labels to measure accuracy with", data, fix)
    other = None if against is None else load(against)
    figures = {"model": model, "data": data, "samples": found.samples, **measure(loaded, other, found)}
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        _show(figures, found.notes)


def measure(model: Model, other: Model | None, data: Samples) -> dict[str, Any]:
    """The figures that `data` allows, as shares in [0, 1]; `other` is the reference."""
    from ..runtime.evaluate import accuracy, agreement
    from ..runtime.session import comparable_session, model_session

    figures: dict[str, Any] = {}
    if data.labels is not None:
        own = accuracy(model_session(model), data, data.labels)
        figures.update(top1=own.top1, top5=own.top5)
    if other is not None and data.labels is not None:
        figures.update(against_top1=accuracy(model_session(other), data, data.labels).top1)
    if other is not None:
        alike = agreement(comparable_session(other), comparable_session(model), data)
        figures.update(agreement=alike.top1, output_error=alike.error)
    return figures


def _show(figures: dict[str, Any], notes: tuple[str, ...]) -> None:
    from ..compiler.report.formatting import percent
    from .console import results

    words = {"top1": "top-1", "top5": "top-5", "against_top1": "top-1 of the other", "agreement": "agreement"}
    console = results()
    parts = [f"{word} {percent(figures[key])}" for key, word in words.items() if figures.get(key) is not None]
    if "output_error" in figures:
        parts.append(f"relative output error {figures['output_error']:.3g}")
    console.print(f"{figures['model']}: {', '.join(parts)} on {figures['samples']} samples", soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
