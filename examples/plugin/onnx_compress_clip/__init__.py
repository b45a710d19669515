"""A pass in a package of its own: weights far from the others are clipped, so that INT8 steps become finer.

    w  ->  mean + clip(w - mean, -s sigma, s sigma)        mean and standard deviation sigma of each filter

pip install ./examples/plugin
onnx-compress model.onnx -p clip-weights:sigmas=4,quantize
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx_compress import Context, Conv, Decision, Pass, PassResult, Rewriter, find_convs, option


@dataclass(frozen=True)
class ClipWeights(Pass):
    """Clip the weights of every filter to a few standard deviations around their mean."""

    name: ClassVar[str] = "clip-weights"
    per_node: ClassVar[frozenset[str]] = frozenset({"sigmas", "skip"})
    sigmas: float = option(4.0, "standard deviations of a filter's weights that are kept")

    def __post_init__(self) -> None:
        if self.sigmas <= 0:
            raise ValueError(f"sigmas={self.sigmas}: expected a positive number")

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        rewriter = Rewriter(graph, ctx.origins)
        decisions = [self._clip(conv, rewriter, ctx) for conv in list(find_convs(graph))]
        return PassResult(changed=rewriter.edits > 0, decisions=decisions)

    def _clip(self, conv: Conv, rewriter: Rewriter, ctx: Context) -> Decision:
        reason = ctx.out_of_scope(conv.name)
        if reason is not None:
            return Decision(conv.name, "skipped", reason)
        rows = conv.matrix().astype(np.float64)
        mean = rows.mean(axis=1, keepdims=True)
        reach = ctx.settings(conv.name).get("sigmas", self.sigmas) * rows.std(axis=1, keepdims=True)
        clipped = np.clip(rows, mean - reach, mean + reach)
        share = float((clipped != rows).mean())
        if share == 0:
            return Decision(conv.name, "kept", "no weight is that far out")
        rewriter.set_weight(conv.node, 1, clipped.reshape(conv.weight.shape).astype(conv.dtype))
        return Decision(conv.name, "rewritten", figures={"clipped": share})
