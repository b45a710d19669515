"""Constants in a form that the parser reads.

1. A Constant node becomes an initializer: onnx-tensorrt 8.5 reads `value_int` and `value_ints` from the float field.
2. INT64 becomes INT32 in TensorRT 8. A bound of a Slice that means "to the end" is cut to INT32 first, which says the
   same; other values that do not fit are left to the lint.

Source: onnx-tensorrt 8.5-GA, builtin_op_importers.cpp (Constant), onnx2trt_utils.cpp (INT64 weights).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.constants import lower_constants
from ...compiler.graph.rewriter import Rewriter
from ...compiler.targets import Target
from .base import Edit, Pattern, is_tensorrt, is_tensorrt_8

INT32 = np.iinfo(np.int32)
BOUNDS = (1, 2)


def _lower_constants(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    count = sum(lower_constants(part.graph) for part in rewriter.parts())
    if count:
        rewriter.edits += 1
        yield "model", f"{count} Constant nodes written as initializers"


def _cut_bounds(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for part in rewriter.parts():
        for node in part.graph.nodes:
            if node.op == "Slice" and not node.domain:
                yield from _cut(node, part)


def _cut(node: gs.Node, rewriter: Rewriter) -> Iterator[Edit]:
    for index in BOUNDS:
        tensor = node.inputs[index] if len(node.inputs) > index else None
        if not isinstance(tensor, gs.Constant) or tensor.dtype != np.int64:
            continue
        cut = np.clip(tensor.values, INT32.min, INT32.max)
        if not np.array_equal(cut, tensor.values):
            rewriter.set_input(node, index, rewriter.constant(tensor.name, cut))
            yield node.name, "its bounds are cut to INT32"


CONSTANTS = (Pattern(is_tensorrt, _lower_constants), Pattern(is_tensorrt_8, _cut_bounds))
