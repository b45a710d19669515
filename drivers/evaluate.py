"""How good a model is: by labels, beside another, by a metric of the user's; or else what its outputs are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..compiler.errors import UsageError
from ..compiler.graph.io import Model
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.options import RunOptions
from ..compiler.pipeline.progress import Progress, silent
from ..runtime.data import Samples, sized_batches
from ..runtime.quality.comparison import Accuracy, Agreement, Judged, PixelAgreement, chosen
from ..runtime.quality.distances import RelativeError
from ..runtime.quality.judge import SampleJudge, judge_of_run
from ..runtime.quality.outputs import is_row
from ..runtime.quality.walk import numbers
from ..runtime.session import comparable_session

TOP = 5


def evaluate_model(
    model: Model, other: Model | None, data: Samples | None, metric: str, progress: Progress = silent
) -> dict[str, Any]:
    """The figures that there is something for, by name; `other` is the original.

    `metric`, `value`, `deviation`: of the model beside the original, in the metric's own units; `original`: the value
    of that, where the metric is not a comparison with it; `by_output`: what each of several outputs loses; `agreement`:
    the value where that is the metric; `output_error`: ||a - b|| / ||a|| over all outputs; `top1`, `top5`: where there
    are labels, and of the original `against_top1`; `outputs`: what they are, where there is nothing to judge by.

    Raises:
        CompressError: the outputs do not have what the metric is about, or those of the models differ; the user's own
            metric fails.
    """
    reference = model if other is None else other
    judge = judge_of_run(reference.graph, Context(RunOptions(metric=metric), data, progress=progress), data)
    if judge is None:
        raise UsageError("there is nothing to measure on", "eval", "give --data, or a --metric of your own")
    if isinstance(judge, SampleJudge):
        return _walked(judge, model, other)
    if data is None:
        figures = dict[str, Any]()
    else:
        beside = replace(SampleJudge.of(reference.graph, data), progress=progress)
        figures = _walked(beside, model, other)
    figures.pop("outputs", None)
    return figures | _judged(judge.judge(model.graph), alone=other is None)


def _walked(judge: SampleJudge, model: Model, other: Model | None) -> dict[str, Any]:
    """From one walk over the samples, of both models where there are two."""
    session = judge.original if other is None else comparable_session(model)
    relative = RelativeError()
    labelled = [] if judge.labels is None else [Accuracy(judge.labels), Accuracy(judge.labels, TOP)]
    judged, figures = judge.judge(session, relative, *labelled), dict[str, Any]()
    if labelled:
        top1, top5 = (each.result() for each in labelled)
        figures.update(top1=top1.value, top5=top5.value if labelled[1].classes > TOP else None)
        figures.update({} if other is None else {"against_top1": top1.original})
    if other is None:
        return figures or _outputs(judge)
    figures.update(agreement=judged.value if judged.metric == Agreement.metric else None)
    return figures | {"output_error": relative.result().value} | _judged(judged, alone=False)


def _judged(judged: Judged, alone: bool) -> dict[str, Any]:
    known = {"metric": judged.metric, "value": judged.value, "deviation": judged.deviation}
    return known if alone else {**known, "original": judged.original, "by_output": dict(judged.outputs)}


def _outputs(judge: SampleJudge) -> dict[str, Any]:
    with judge.progress("outputs", 1) as advance:
        found = _described(judge)
        advance()
    return {"outputs": found}


def _described(judge: SampleJudge) -> dict[str, dict[str, Any]]:
    """Every output: the shape of a sample; of class scores and maps how many classes are chosen, and the share of the
    most frequent one; of anything else mean and standard deviation."""
    seen: dict[str, list[np.ndarray]] = {}
    shapes: dict[str, list[int]] = {}
    for feeds in sized_batches(judge.data):
        for name, value in numbers(judge.original.run(feeds)).items():
            shapes.setdefault(name, list(value.shape[1:]))
            seen.setdefault(name, []).append(_condensed(value, judge.metric))
    return {name: {"shape": shapes[name], **_figures(parts)} for name, parts in seen.items()}


def _condensed(output: np.ndarray, metric: str) -> np.ndarray:
    """Chosen classes, of samples or positions, int; or count, sum and sum of squares (3,) float64."""
    if is_row(output) or metric == PixelAgreement.metric:
        return chosen(output).reshape(-1)
    values = output.astype(np.float64)
    return np.array([values.size, values.sum(), np.square(values).sum()])


def _figures(parts: list[np.ndarray]) -> dict[str, Any]:
    if parts[0].dtype.kind in "iu":
        _, counts = np.unique(np.concatenate(parts), return_counts=True)
        return {"chosen": len(counts), "most": float(counts.max() / counts.sum())}
    count, total, squares = np.sum(parts, axis=0)
    mean = float(total / count)
    return {"mean": mean, "deviation": float(np.sqrt(max(squares / count - mean * mean, 0.0)))}
