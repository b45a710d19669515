"""Writes the model in the way that the target's engine reads it; outputs stay as they are.

What is rewritten, in this order (a file each in `passes.legalization`):

    operators      those that the parser lacks, by the ones that define them; opset lowered; IR version capped
    constants      Constant nodes as initializers; bounds of slices that INT32 cannot hold
    convolutions   kernel_shape written out
    gemms          biases in INT32 where a kernel is an integer one only then
    quantizers     zero points, signs, axes; INT8 weights as FP32 -> Q -> DQ where the engine wants that
    outputs        outputs that nobody reads and no importer returns
    names          node names without , : *

What no pattern can rewrite is for the lint to name (`onnx-compress check`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ..compiler.graph.rewriter import Rewriter
from ..compiler.pipeline.base import Decision, Pass, PassResult
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.registry import register
from .legalization.base import Pattern
from .legalization.constants import CONSTANTS
from .legalization.convolutions import CONVOLUTIONS
from .legalization.gemms import GEMMS
from .legalization.names import NAMES
from .legalization.operators import OPERATORS
from .legalization.outputs import OUTPUTS
from .legalization.quantizers import PATTERNS as QUANTIZERS

PATTERNS: tuple[Pattern, ...] = (*OPERATORS, *CONSTANTS, *CONVOLUTIONS, *GEMMS, *QUANTIZERS, *OUTPUTS, *NAMES)


@register
@dataclass(frozen=True)
class Legalize(Pass):
    """Write the model as the target's engine reads it."""

    name: ClassVar[str] = "legalize"
    exact: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        decisions = [
            Decision(node, "legalized", what)
            for pattern in PATTERNS
            if pattern.applies(ctx.target)
            for node, what in pattern.run(Rewriter(graph, ctx.origins), ctx.target)
        ]
        return PassResult(changed=bool(decisions), decisions=decisions)
