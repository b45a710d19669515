"""Outputs that the parser's importers do not return, where nobody reads them: they are taken off the node.
A BatchNormalization that is in training mode because of them keeps them.

onnx-tensorrt 8.5 asks its importer for as many outputs as the node lists, and fails with `std::out_of_range`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.training_mode import node_training_mode
from ...compiler.targets import Target
from .base import Edit, Pattern, is_tensorrt

RETURNED = {"Dropout": 1, "MaxPool": 1, "BatchNormalization": 1, "LayerNormalization": 1}


def _drop_unread(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for part in rewriter.parts():
        kept = {id(tensor) for tensor in part.graph.outputs}
        for node in part.graph.nodes:
            count = RETURNED.get(node.op, len(node.outputs)) if not node.domain else len(node.outputs)
            returned, extra = list(node.outputs)[:count], list(node.outputs)[count:]
            if node_training_mode(node, rewriter.graph.opset):
                continue
            if extra and not any(tensor.outputs or id(tensor) in kept for tensor in extra):
                node.outputs = returned
                rewriter.edits += 1
                yield node.name, "outputs that nothing reads removed"


OUTPUTS = (Pattern(is_tensorrt, _drop_unread),)
