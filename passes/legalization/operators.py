"""Operators that the engine's parser lacks, and opsets that it does not read.

1. An operator that ONNX defines by others, and that the parser does not know (HardSwish before TensorRT 8.4,
   LayerNormalization before 8.6, Mish), is written by the others.
2. A newer opset than the parser's is lowered (`compiler.graph.lowering`).
3. The IR version is capped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_graphsurgeon as gs

from ...compiler.graph.functions import expand_functions
from ...compiler.graph.lowering import has_operator, lower_opset
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import symbolic_shapes
from ...compiler.targets import Target
from ...compiler.targets.operators import supported
from .base import Edit, Pattern


def _expand(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    known = supported(target)
    names = expand_functions(rewriter, lambda node: _is_missing(node, known, target))
    yield from ((name, "written by the operators that define it") for name in names)


def _is_missing(node: gs.Node, known: Collection[str], target: Target) -> bool:
    """Whether the parser, of which `known` lists the operators if there is a list, lacks the node's operator."""
    if node.domain:
        return False
    return (bool(known) and node.op not in known) or not has_operator(node, target.max_opset)


def _lower(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    before = rewriter.graph.opset
    if before <= target.max_opset:
        return
    names = lower_opset(rewriter, target.max_opset, symbolic_shapes(rewriter.graph))
    yield "model", f"opset lowered from {before} to {target.max_opset}"
    yield from ((name, f"written as opset {target.max_opset} has it") for name in names)


def _cap(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    before = rewriter.graph.ir_version or 0
    if before > target.max_ir:
        rewriter.graph.ir_version = target.max_ir
        yield "model", f"IR version {before} written as {target.max_ir}"


def _always(target: Target) -> bool:
    return True


OPERATORS = (Pattern(_always, _expand), Pattern(_always, _lower), Pattern(_always, _cap))
