"""The shapes that costs are counted from.

1. ONNX shape inference, without nominal sizes: what hangs on an open dimension that neither `--shapes` nor the data
   give is not known.
2. What inference leaves open is taken from runs with onnxruntime, where it knows every operator: of two samples, or one
   random input, and of zeros. A shape that differs between them depends on values, and is not known.

Nothing else is assumed; a shape that is not known is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.costs.network_cost import other_convs
from ..compiler.errors import CompressError
from ..compiler.graph.shapes import Shapes, input_shapes, static_shapes
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.data import Data, Feeds
from ..compiler.targets.profiles import Range
from .data import one_of_each_shape
from .session import shape_session
from .verify import random_feeds

SAMPLES = 2


def network_shapes(graph: gs.Graph, ctx: Context) -> Shapes:
    """Tensor name -> shape, of every tensor of the main graph whose shape is known; scalars are (). For one sample, or
    for the batch that `--shapes` asks for.
    """
    found = static_shapes(graph, ctx.input_sizes(), batched=True)
    if any(tensor.name not in found for tensor in graph.inputs):
        return found
    every = _unknown(graph.nodes, found)
    convs = _unknown(other_convs(graph), found)
    for wanted in (every, convs) if every != convs else (every,):
        measured = _measured(graph, ctx, wanted) if wanted else None
        if measured is not None:
            return {**found, **measured}
    return found


def sample_ranges(data: Data) -> dict[str, Range]:
    """By input, the dimensions of one sample, least, first and greatest; empty where all have one shape."""
    if data.shapes is None:
        return {}
    found = [{name: array.shape for name, array in feeds.items()} for feeds in one_of_each_shape(data)]
    return {name: Range(_each(min, found, name), first, _each(max, found, name)) for name, first in found[0].items()}


def largest_shapes(data: Data) -> dict[str, tuple[int, ...]]:
    """By input, the shape of the largest sample."""
    feeds = max(one_of_each_shape(data), key=lambda feeds: sum(array.nbytes for array in feeds.values()))
    return {name: array.shape for name, array in feeds.items()}


def _each(best: Callable[..., int], shapes: Sequence[Mapping[str, tuple[int, ...]]], name: str) -> tuple[int, ...]:
    return tuple(best(sizes) for sizes in zip(*(shape[name] for shape in shapes), strict=True))


def _unknown(nodes: Iterable[gs.Node], found: Shapes) -> list[str]:
    tensors = [tensor for node in nodes for tensor in (*node.inputs, *node.outputs) if not tensor.is_empty()]
    return list(dict.fromkeys(tensor.name for tensor in tensors if tensor.name not in found))


def _measured(graph: gs.Graph, ctx: Context, names: Sequence[str]) -> Shapes | None:
    """The shapes that all runs agree on; None where onnxruntime cannot run the graph, or a tensor is a sequence."""
    try:
        session = shape_session(graph, names)
        runs = [list(session.run(feeds).values()) for feeds in _feeds(graph, ctx)]
    except CompressError:
        return None
    shapes = [[tuple(map(int, shape)) for shape in run] for run in runs]
    return {name: first for name, first, *others in zip(names, *shapes, strict=True) if all(first == o for o in others)}


def _feeds(graph: gs.Graph, ctx: Context) -> Iterator[Feeds]:
    """Samples, where there are some of the sizes that are asked for, else random values; then zeros."""
    if ctx.data is not None and not ctx.options.shapes:
        feeds = _samples(ctx.data)
    else:
        feeds = [random_feeds(graph, ctx.rng(), input_shapes(graph, ctx.input_sizes(), batched=True))]
    yield from feeds
    yield {name: np.zeros_like(values) for name, values in feeds[0].items()}


def _samples(data: Data) -> list[Feeds]:
    """The first, and others of its shape."""
    if data.shapes is None:
        return list(islice(data.batches(1), SAMPLES))
    alike = np.flatnonzero(data.shapes == data.shapes[0])[:SAMPLES]
    return [data.take(alike[index : index + 1]) for index in range(len(alike))]
