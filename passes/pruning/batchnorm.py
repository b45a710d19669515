"""Statistics of the BatchNormalizations that could not be folded (before a Conv, say), for what then reaches them.

With m, v the mean and variance of a channel on the samples, in the original (o) and the pruned network (p), the stored
mean mu and variance s become

    s' + eps = (s + eps) v_p / v_o        mu' = m_p - (m_o - mu) sqrt((s' + eps) / (s + eps))

so that the normalized channel has the mean and variance that it had, and nothing changes where nothing was pruned.
Statistics that several BatchNormalizations share stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.weights import resolve
from ...compiler.pipeline.data import ACTIVATIONS, Data
from ...runtime.data import sized_batches
from ...runtime.segmented_executor import SegmentedExecutor
from ..projection.fit import Array

EPSILON, LEAST = 1e-5, 1e-12


class BatchNormEstimator:
    """The BatchNormalizations of `graph` from node `first` on; `kept_channels`, `memory`: see `runtime.lockstep`."""

    def __init__(
        self,
        graph: gs.Graph,
        reference: gs.Graph,
        first: int,
        data: Data,
        kept_channels: Mapping[str, np.ndarray] | None = None,
        memory: int = ACTIVATIONS,
    ):
        self._rewriter = Rewriter(graph)
        self._kept_channels = kept_channels or {}
        self._pending = [node for node in graph.nodes[first:] if _is_constant_norm(node)]
        self._order = {id(node): place for place, node in enumerate(graph.nodes)}
        executor = SegmentedExecutor(graph, sized_batches(data), memory) if self._pending else None
        self._executors = [executor.beside(reference), executor] if executor else []

    def estimate_before(self, node: gs.Node | None) -> int:
        """Set the statistics of those before `node` in the graph, None: of all; how many."""
        place = len(self._order) if node is None else self._order[id(node)]
        due = [norm for norm in self._pending if self._order[id(norm)] < place]
        self._pending = self._pending[len(due) :]
        for norm in due:
            self._estimate(norm)
        return len(due)

    def _estimate(self, norm: gs.Node) -> None:
        name = norm.inputs[0].name
        for executor in self._executors:
            executor.advance([name])
        original, pruned = (executor[name] for executor in self._executors)
        if name in self._kept_channels:
            original = [values[:, self._kept_channels[name]] for values in original]
        (m_o, v_o), (m_p, v_p) = _moments(original), _moments(pruned)
        mean, variance = _stored(norm, 3), _stored(norm, 4)
        epsilon = float(norm.attrs.get("epsilon", EPSILON))
        ratio = np.where((v_o > LEAST) & (v_p > LEAST), v_p / np.maximum(v_o, LEAST), 1.0)
        scaled = np.maximum((variance + epsilon) * ratio - epsilon, 0)
        shift = (m_o - mean) * np.sqrt((scaled + epsilon) / (variance + epsilon))
        dtype = _values(norm, 3).dtype
        for index, values in ((3, m_p - shift), (4, scaled)):
            self._rewriter.set_weight(norm, index, values.astype(dtype))


def _values(norm: gs.Node, index: int) -> np.ndarray:
    values = resolve(norm.inputs[index])
    assert values is not None
    return values


def _stored(norm: gs.Node, index: int) -> Array:
    return _values(norm, index).astype(np.float64)


def _is_constant_norm(node: gs.Node) -> bool:
    if node.op != "BatchNormalization" or node.domain or node.attrs.get("training_mode", 0):
        return False
    known = all(resolve(tensor) is not None for tensor in node.inputs[1:5])
    return known and all(len(tensor.outputs) == 1 for tensor in node.inputs[3:5])


def _moments(batches: Sequence[np.ndarray]) -> tuple[Array, Array]:
    """Mean and variance of each channel (C,), over samples and positions."""
    rows = [np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).astype(np.float64) for values in batches]
    count = sum(row.shape[1] for row in rows)
    mean = np.sum([row.sum(1) for row in rows], 0) / count
    return mean, np.sum([np.square(row - mean[:, None]).sum(1) for row in rows], 0) / count
