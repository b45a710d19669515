"""What the outputs of a network are, judged by those of some samples.

    classes    every judged output is a row of scores (N, C), spatial axes of size 1 aside, or a class number (N,)
    maps       one output (N, C, H, W) with the scores of C classes at every position, or their numbers (N, H, W)
    values     anything else: boxes, keypoints, depths, pictures, several outputs of different kinds

A map of channels is one of classes where its positions are at least 1 / 8 as dense as those of the input, and its
channels are not put together from several branches, as the boxes and scores of a detector are. Up to four channels may
be a picture or a flow: they are classes where a Softmax over them says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

Kind = Literal["classes", "maps", "values"]
Outputs = Mapping[str, np.ndarray]
STRIDE, FEW = 8, 4
UNITY = 1e-2  # what probabilities in FP16 or INT8 may miss a sum of 1 by
PASSES_ON = frozenset(("Identity", "Cast", "Resize", "Upsample", "Softmax", "LogSoftmax", "Sigmoid", "Relu", "Clip"))


def kind_of(graph: gs.Graph, feeds: Outputs, outputs: Outputs) -> Kind:
    """The kind of `outputs`, tensors of `graph` by name, as they are for `feeds`."""
    judged = list(outputs.values())
    if judged and all(is_row(value) for value in judged):
        return "classes"
    if len(judged) == 1 and _is_map(graph, next(iter(outputs)), judged[0], feeds.values()):
        return "maps"
    return "values"


def is_numbers(output: np.ndarray) -> bool:
    """Whether it holds the numbers of classes, not their scores."""
    return output.dtype.kind in "iu"


def is_row(output: np.ndarray) -> bool:
    """Whether it holds a row of class scores per sample, or a class number."""
    if is_numbers(output):
        return output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)
    spatial = output.shape[2:]
    plain = output.ndim in (2, 4, 5) and all(size == 1 for size in spatial)
    return output.dtype.kind == "f" and plain and output.shape[1] > 1


def scores(output: np.ndarray) -> np.ndarray:
    """A row of class scores as (N, C)."""
    return output.reshape(output.shape[:2])


def log_scores(reference: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of class scores of two networks as (N, C), such that a Softmax of them gives the probabilities.

    Where the reference gives probabilities itself, as behind a final Softmax, those are the logarithms of both, and of
    0 that of the smallest normal number of the type: a Softmax of probabilities is flat whatever the network says.
    """
    rows, others = scores(reference), scores(other)
    return (_logarithm(rows), _logarithm(others)) if is_probabilities(rows) else (rows, others)


def is_probabilities(rows: np.ndarray) -> bool:
    """Whether all rows (N, C) are distributions: no number is negative, and the sum is 1."""
    return bool(np.all(rows >= 0)) and bool(np.all(np.abs(rows.sum(axis=1, dtype=np.float64) - 1) <= UNITY))


def _logarithm(rows: np.ndarray) -> np.ndarray:
    least = float(np.finfo(rows.dtype).tiny)
    return np.log(np.maximum(rows.astype(np.float64), least))


def channel_axes(output: np.ndarray) -> tuple[int | None, ...]:
    """The axes of an output whose entries may mean different things (boxes and scores, classes), the likeliest first;
    None: those of no axis do.

    Axis 1 of (N, C) and of maps; of (N, A, K) the shorter of the two: anchors are many, what is said of each is less.
    """
    if output.ndim < 2:
        return (None,)
    if output.ndim == 3:
        return (1, 2, None) if output.shape[1] < output.shape[2] else (2, 1, None)
    return (1, None)


def _is_map(graph: gs.Graph, name: str, output: np.ndarray, inputs: Iterable[np.ndarray]) -> bool:
    positions = max((value.shape[2] * value.shape[3] for value in inputs if value.ndim == 4), default=0)
    if is_numbers(output):
        return output.ndim >= 3 and output[0].size * STRIDE**2 >= positions > 0
    if output.dtype.kind != "f" or output.ndim != 4 or output.shape[1] < 2:
        return False
    if output.shape[2] * output.shape[3] * STRIDE**2 < positions:
        return False
    behind = list(_makers(graph, name))
    if any(node.op == "Concat" and node.attrs.get("axis") in (1, -3) for node in behind):
        return False
    softmax = any(node.op in ("Softmax", "LogSoftmax") and node.attrs.get("axis", -1) in (1, -3) for node in behind)
    return softmax or output.shape[1] > FEW


def _makers(graph: gs.Graph, name: str) -> Iterator[gs.Node]:
    """The node that makes the output, and those before it as far as they hand channels on as they are."""
    tensor = graph.tensors()[name]
    while tensor.inputs:
        node = tensor.inputs[0]
        yield node
        if node.op not in PASSES_ON or not node.inputs:
            return
        tensor = node.inputs[0]
