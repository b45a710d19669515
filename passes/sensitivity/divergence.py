"""What the outputs of a network lose when one layer has another weight.

    divergence = mean over samples of sum_c p_c log(p_c / q_c)        where the first output holds class scores,
                                                                      p and q their softmax before and after
    divergence = sum |a - b|^2 / sum |a|^2                            over all outputs otherwise

The network is walked once: what comes before a layer is not run again, and what comes after it is run with the weight
as an input, once per weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import Conv
from ...compiler.graph.gemms import Gemm
from ...compiler.pipeline.data import ACTIVATIONS, Data
from ...runtime.evaluate import class_scores, kullback_leibler
from ...runtime.segmented_executor import SegmentedExecutor
from ...runtime.session import Session, graph_session, reads, segment_session

BATCH = 64
WEIGHT, BIAS = "probe.weight", "probe.bias"
PLAIN = {"transB": 1, "alpha": 1.0, "beta": 1.0}
Outputs = Sequence[np.ndarray]


class WeightDivergence:
    """Tries other weights in the layers of `graph`, which is not changed; ask for the layers in graph order.

    `memory`: see `runtime.lockstep`.
    """

    def __init__(self, graph: gs.Graph, data: Data, memory: int = ACTIVATIONS):
        self._graph = graph.copy()
        batches = list(data.batches(BATCH))
        self._names = [tensor.name for tensor in graph.outputs]
        session = graph_session(graph)
        self._wanted = [[values[name] for name in self._names] for values in map(session.run, batches)]
        self._executor = SegmentedExecutor(self._graph, batches, memory)

    def divergences(self, layer: Conv | Gemm, weights: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        """One per (weight (N, d), bias (N,))."""
        node = next(node for node in self._graph.nodes if node.name == layer.name)
        self._executor.advance([layer.input.name])
        plan = self._executor.plan(self._names)
        made = {tensor.name for later in plan for tensor in later.outputs}
        held = {t.name for n in plan for t in reads(n) if isinstance(t, gs.Variable) and t.name not in made}
        session = self._session(node, plan, held, layer)
        return [self._divergence(session, held, self._feeds(layer, *pair)) for pair in weights]

    def _session(self, node: gs.Node, plan: list[gs.Node], held: set[str], layer: Conv | Gemm) -> Session:
        """The rest of the network, the weight and bias of `node` being inputs."""
        stored, attrs = list(node.inputs), node.attrs
        node.inputs = [stored[0], gs.Variable(WEIGHT, layer.dtype), gs.Variable(BIAS, layer.dtype)]
        node.attrs = {**attrs, **(PLAIN if node.op == "Gemm" else {})}
        try:
            examples = {name: self._executor[name][0] for name in held}
            feeds = self._feeds(layer, layer.weight, np.zeros(layer.filters))
            return segment_session(self._graph, plan, {**examples, **feeds}, self._names)
        finally:
            node.inputs, node.attrs = stored, attrs

    def _feeds(self, layer: Conv | Gemm, weight: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
        return {WEIGHT: weight.reshape(layer.weight.shape).astype(layer.dtype), BIAS: bias.astype(layer.dtype)}

    def _divergence(self, session: Session, held: set[str], weight: dict[str, Any]) -> float:
        found: list[Outputs] = []
        for index in range(len(self._wanted)):
            values = session.run({**{name: self._executor[name][index] for name in held}, **weight})
            found.append([values[name] for name in self._names])
        return divergence(self._wanted, found)


def divergence(wanted: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """See the module docstring; both are outputs by batch."""
    scores = [(class_scores(a[0]), class_scores(b[0])) for a, b in zip(wanted, found, strict=True)]
    if all(a is not None and b is not None for a, b in scores):
        rows = [kullback_leibler(a, b) for a, b in scores if a is not None and b is not None]
        return float(np.mean(np.concatenate(rows)))
    pairs = [(a.astype(np.float64), b) for x, y in zip(wanted, found, strict=True) for a, b in zip(x, y, strict=True)]
    energy = sum(float(np.sum(a * a)) for a, _ in pairs)
    return sum(float(np.sum((a - b) ** 2)) for a, b in pairs) / max(energy, 1e-30)
