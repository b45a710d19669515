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
from scipy.special import log_softmax

from ..compiler.context import Data
from ..compiler.graph.convs import Conv
from .evaluate import class_scores
from .session import Session, graph_session, reads, segment_session
from .walk import Walk

BATCH = 64
WEIGHT, BIAS = "probe.weight", "probe.bias"
Outputs = Sequence[np.ndarray]


class Probe:
    """Tries other weights in the Convs of `graph`, which is not changed; ask for the Convs in graph order."""

    def __init__(self, graph: gs.Graph, data: Data):
        self._graph = graph.copy()
        batches = list(data.batches(BATCH))
        self._names = [tensor.name for tensor in graph.outputs]
        session = graph_session(graph)
        self._wanted = [[values[name] for name in self._names] for values in map(session.run, batches)]
        self._walk = Walk(self._graph, batches)

    def divergences(self, conv: Conv, weights: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        """One per (weight (N, d), bias (N,))."""
        node = next(node for node in self._graph.nodes if node.name == conv.name)
        self._walk.advance([conv.input.name])
        plan = self._walk.plan(self._names)
        made = {tensor.name for later in plan for tensor in later.outputs}
        held = {t.name for n in plan for t in reads(n) if isinstance(t, gs.Variable) and t.name not in made}
        session = self._session(node, plan, held, conv)
        return [self._divergence(session, held, self._feeds(conv, *pair)) for pair in weights]

    def _session(self, node: gs.Node, plan: list[gs.Node], held: set[str], conv: Conv) -> Session:
        """The rest of the network, the weight and bias of `node` being inputs."""
        stored = list(node.inputs)
        node.inputs = [stored[0], gs.Variable(WEIGHT, conv.dtype), gs.Variable(BIAS, conv.dtype)]
        try:
            examples = {name: self._walk[name][0] for name in held}
            feeds = self._feeds(conv, conv.weight, np.zeros(conv.filters))
            return segment_session(self._graph, plan, {**examples, **feeds}, self._names)
        finally:
            node.inputs = stored

    def _feeds(self, conv: Conv, weight: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
        return {WEIGHT: weight.reshape(conv.weight.shape).astype(conv.dtype), BIAS: bias.astype(conv.dtype)}

    def _divergence(self, session: Session, held: set[str], weight: dict[str, Any]) -> float:
        found: list[Outputs] = []
        for index in range(len(self._wanted)):
            values = session.run({**{name: self._walk[name][index] for name in held}, **weight})
            found.append([values[name] for name in self._names])
        return divergence(self._wanted, found)


def divergence(wanted: Sequence[Outputs], found: Sequence[Outputs]) -> float:
    """See the module docstring; both are outputs by batch."""
    scores = [(class_scores(a[0]), class_scores(b[0])) for a, b in zip(wanted, found, strict=True)]
    if all(a is not None and b is not None for a, b in scores):
        rows = [_kullback_leibler(a, b) for a, b in scores if a is not None and b is not None]
        return float(np.mean(np.concatenate(rows)))
    pairs = [(a.astype(np.float64), b) for x, y in zip(wanted, found, strict=True) for a, b in zip(x, y, strict=True)]
    energy = sum(float(np.sum(a * a)) for a, _ in pairs)
    return sum(float(np.sum((a - b) ** 2)) for a, b in pairs) / max(energy, 1e-30)


def _kullback_leibler(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Per sample, of the softmax of rows of scores."""
    p, q = (log_softmax(rows.astype(np.float64), axis=1) for rows in (scores, others))
    return np.sum(np.exp(p) * (p - q), axis=1)
