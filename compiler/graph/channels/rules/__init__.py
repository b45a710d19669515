"""One small rule per family of operators: how labels pass from the inputs of a node to its outputs.

A rule never raises: where it cannot say what the removal of a channel does, it stops the labels with a reason
(`Flow.stop`). An operator without a rule stops them too.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..flow import Flow
from . import concat, elementwise, indexing, layers, norms, pooling, quantizers, reshaping, sizes, stored
from .table import RULES

__all__ = ["FAMILIES", "RULES", "walk"]

JOINT = frozenset({"Concat", "MatMul", *elementwise.BROADCAST})  # any input may carry labels

FAMILIES = (concat, elementwise, indexing, layers, norms, pooling, quantizers, reshaping)
"""Importing them enters the rules."""


def walk(flow: Flow) -> None:
    """Label every tensor of the main graph."""
    for node in flow.graph.nodes:
        sizes.follow(node, flow)
        rule = None if node.domain else RULES.get(node.op)
        if rule is None:
            flow.stop(node, "has no rule")
        elif node.op not in JOINT and any(flow.of(tensor) is not None for tensor in node.inputs[1:]):
            flow.stop(node, "takes a parameter from channels")
        else:
            rule(node, flow)
        _freeze_captures(node, flow)
    for tensor in flow.graph.outputs:
        _freeze(tensor, f"'{tensor.name}' is an output of the model", flow)
    stored.tie_readers(flow)


def _freeze_captures(node: gs.Node, flow: Flow) -> None:
    for body in node.subgraphs(recursive=True):
        read = [tensor for inner in body.nodes for tensor in inner.inputs]
        for tensor in [*read, *body.outputs]:
            _freeze(tensor, f"'{tensor.name}' is read in a subgraph of {node.op} '{node.name}'", flow)


def _freeze(tensor: gs.Tensor, why: str, flow: Flow) -> None:
    """Freeze the labels that `tensor` carries or counts."""
    labels = flow.of(tensor)
    for one in [*([labels] if labels else []), *flow.sizes.get(tensor.name, {}).values()]:
        flow.freeze(one.ids, why)
