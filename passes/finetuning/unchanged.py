"""The beginning of a network that is still as it was: it rests, and its values are taken from the original.

The original is run on every batch anyway, so that these layers cost nothing: no values, no gradients. Where blocks were
taken out late in a network that is the greater part of it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.pipeline.data import Feeds
from ...runtime.session import graph_session

NEAR = 1e-6
"""Of the largest value: kernels of two sessions may round apart."""


def unchanged_tensors(graph: gs.Graph, original: gs.Graph, feeds: Feeds) -> set[str]:
    """Names of computed tensors that hold the same float32 values in both networks, on a few samples."""
    there = {tensor.name for node in original.nodes for tensor in node.outputs}
    names = [tensor.name for node in graph.nodes for tensor in node.outputs if tensor.name in there]
    if not names:
        return set()
    before, after = (graph_session(each, names).run(feeds) for each in (original, graph))
    return {name for name in names if _equal(before[name], after[name])}


def frontier(graph: gs.Graph, unchanged: Collection[str]) -> list[str]:
    """The tensors of `unchanged` that others are computed from."""
    read = (
        tensor.name
        for node in graph.nodes
        if not all(tensor.name in unchanged for tensor in node.outputs)
        for tensor in node.inputs
    )
    return list(dict.fromkeys(name for name in read if name in unchanged))


def _equal(before: np.ndarray, after: np.ndarray) -> bool:
    if before.dtype != np.float32 or before.shape != after.shape or not before.ndim or not before.size:
        return False
    return float(np.abs(before - after).max()) <= NEAR * float(np.abs(before).max())
