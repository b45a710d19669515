"""A pass of your own: the smallest weights of every Conv become zero.

onnx-compress model.onnx --plugin examples/zero_small.py -p zero-small:share=0.2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx_compress import Context, Conv, Decision, Pass, PassResult, Rewriter, find_convs, option, register


@register
@dataclass(frozen=True)
class ZeroSmall(Pass):
    """Set the smallest weights of every Conv to zero."""

    name: ClassVar[str] = "zero-small"
    share: float = option(0.1, "this share of the weights of every Conv becomes zero", "[0, 1)")

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        rewriter = Rewriter(graph, ctx.origins)
        decisions = [self._rewrite(conv, rewriter, ctx) for conv in list(find_convs(graph))]
        return PassResult(changed=rewriter.edits > 0, decisions=decisions)

    def _rewrite(self, conv: Conv, rewriter: Rewriter, ctx: Context) -> Decision:
        reason = ctx.out_of_scope(conv.name)
        if reason is not None:
            return Decision(conv.name, "skipped", reason)
        size = np.abs(conv.weight)
        kept = np.where(size < np.quantile(size, self.share), 0, conv.weight)
        rewriter.set_weight(conv.node, 1, kept.astype(conv.dtype))
        return Decision(conv.name, "rewritten", figures={"zeros": float((kept == 0).mean())})
