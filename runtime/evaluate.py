"""How good a model is: top-1 and top-5 against labels, or its agreement with another model; streamed in batches.

agreement = share of samples on which both models choose the same class
error     = ||a - b|| / ||a||        over all outputs of all samples, a the reference

Graphs are compared at their outputs, or at what those are made of: see `compiler.graph.comparable`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from scipy.special import log_softmax

from ..compiler.errors import CompressError
from ..compiler.pipeline.data import Data
from .data import BATCH, sized_batches
from .session import Session, comparable_session, graph_session

Runnable = gs.Graph | onnx.ModelProto | Session


@dataclass(frozen=True)
class Accuracy:
    """Shares in [0, 1]; `top5` is None where there are fewer than six classes."""

    samples: int
    top1: float
    top5: float | None


@dataclass(frozen=True)
class Agreement:
    """`top1` in [0, 1], None where the first output is not a row of class scores; `error` >= 0.

    `correct`: top-1 accuracy of the two models, where labels were given and there are class scores.
    `divergence`: mean over samples of `kullback_leibler`, where there are class scores.
    """

    samples: int
    top1: float | None
    error: float
    correct: tuple[float, float] | None = None
    divergence: float | None = None


def accuracy(model: Runnable, data: Data, labels: np.ndarray, batch: int = BATCH) -> Accuracy:
    """Top-1 and top-5 of the first output against `labels` (samples,).

    Raises:
        CompressError: the first output is not (N, classes), or a label exceeds the classes.
    """
    session, hits, hits5, start, classes = as_session(model), 0, 0, 0, 0
    for feeds in sized_batches(data, batch):
        scores = class_scores(session.run(feeds)[session.outputs[0]])
        if scores is None:
            raise CompressError(f"the first output '{session.outputs[0]}' is not (N, classes)", "eval", "use --against")
        truth = labels[start : start + len(scores)]
        start, classes = start + len(scores), scores.shape[1]
        _check_labels(truth, classes)
        hits += int((scores.argmax(1) == truth).sum())
        hits5 += int((_top5(scores) == truth[:, None]).sum())
    return Accuracy(start, hits / start, hits5 / start if classes > 5 else None)


def agreement(
    reference: Runnable,
    other: Runnable,
    data: Data,
    batch: int = BATCH,
    labels: np.ndarray | None = None,
    temperature: float = 1.0,
) -> Agreement:
    """How alike two models with the same outputs answer, and how well where `labels` (samples,) are given.

    `temperature`: of the divergence. Sessions are compared at the outputs that they have.

    Raises:
        CompressError: the outputs differ in number or shape, or a label exceeds the classes.
    """
    a, b = (
        comparable_session(model) if isinstance(model, gs.Graph) else as_session(model) for model in (reference, other)
    )
    count, rated, distance, energy = 0, True, 0.0, 0.0
    picks: list[tuple[np.ndarray, np.ndarray]] = []
    divergences: list[np.ndarray] = []
    for size, left, right in _pairs(a, b, data, batch):
        count += size
        first, second = class_scores(left[0]), class_scores(right[0])
        rated = rated and first is not None and second is not None and len(first) == size
        if first is not None and second is not None:
            if labels is not None:
                _check_labels(labels[count - len(first) : count], first.shape[1])
            picks.append((first.argmax(1), second.argmax(1)))
            divergences.append(kullback_leibler(first, second, temperature))
        distance += sum(_squares(x.astype(np.float64) - y) for x, y in zip(left, right, strict=True))
        energy += sum(_squares(x) for x in left)
    error = _relative(distance, energy)
    if not rated or not picks:
        return Agreement(count, None, error)
    one, two = (np.concatenate(side) for side in zip(*picks, strict=True))
    correct = None if labels is None else (_same(one, labels), _same(two, labels))
    return Agreement(count, _same(one, two), error, correct, float(np.mean(np.concatenate(divergences))))


def choices(model: Runnable, data: Data, batch: int = BATCH) -> np.ndarray:
    """The class chosen for each sample, (samples,) int64; `CompressError` where the first output has no classes."""
    session = as_session(model)
    parts: list[np.ndarray] = []
    for feeds in sized_batches(data, batch):
        scores = class_scores(session.run(feeds)[session.outputs[0]])
        if scores is None:
            raise CompressError(f"output '{session.outputs[0]}' is not (N, classes)", "agreement", "use macs=")
        parts.append(scores.argmax(1))
    return np.concatenate(parts)


def as_session(model: Runnable) -> Session:
    if isinstance(model, Session):
        return model
    return graph_session(model) if isinstance(model, gs.Graph) else Session(model)


def class_scores(output: np.ndarray) -> np.ndarray | None:
    """`output` as (N, classes), spatial axes of size 1 dropped; None where it is anything else."""
    if output.dtype.kind != "f" or output.ndim < 2 or output.shape[1] < 2 or output[0, 0].size != 1:
        return None
    return output.reshape(output.shape[:2])


def kullback_leibler(scores: np.ndarray, others: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """T^2 KL(softmax(scores / T) || softmax(others / T)) per row of (N, classes): (N,) float64."""
    p, q = (log_softmax(rows.astype(np.float64) / temperature, axis=1) for rows in (scores, others))
    return temperature**2 * np.sum(np.exp(p) * (p - q), axis=1)


def _pairs(a: Session, b: Session, data: Data, batch: int) -> Iterator[tuple[int, list[np.ndarray], list[np.ndarray]]]:
    """Batch by batch: its size, and the numeric outputs of both models, paired by position."""
    for feeds in sized_batches(data, batch):
        left, right = (list(filter(_is_numeric, side.run(feeds).values())) for side in (a, b))
        shapes = [[value.shape for value in side] for side in (left, right)]
        if shapes[0] != shapes[1]:
            found = f"{shapes[0]} and {shapes[1]}"
            raise CompressError(f"outputs differ in shape: {found}", "--against", "name a model of the same task")
        if not left:
            raise CompressError("no output is a tensor of numbers", "outputs", "give a network with such an output")
        yield len(next(iter(feeds.values()))), left, right


def _is_numeric(value: object) -> bool:
    """False for text, sequences and maps."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"


def _check_labels(labels: np.ndarray, classes: int) -> None:
    if labels.max(initial=0) >= classes:
        raise CompressError(f"expected labels 0 to {classes - 1}, found {labels.max()}", "--labels", "number from 0")


def _top5(scores: np.ndarray) -> np.ndarray:
    count = min(5, scores.shape[1])
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]


def _same(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.count_nonzero(a == b) / len(a))


def _squares(x: np.ndarray) -> float:
    return float(np.square(x, dtype=np.float64).sum())


def _relative(distance: float, energy: float) -> float:
    if energy == 0:
        return 0.0 if distance == 0 else float("inf")
    return float(np.sqrt(distance / energy))
