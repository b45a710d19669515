"""One small rule per family of operators: how labels pass from the inputs of a node to its outputs.

A rule never raises: where it cannot say what the removal of a channel does, it stops the labels with a reason
(`Flow.stop`). An operator without a rule stops them too.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..flow import Flow
from . import elementwise, layers, norms, parts, quantizers, reshaping, sizes, space
from .table import RULES

__all__ = ["RULES", "walk"]

assert all((elementwise, layers, norms, parts, quantizers, reshaping, space))


def walk(flow: Flow) -> None:
    """Label every tensor of the main graph."""
    for node in flow.graph.nodes:
        sizes.follow(node, flow)
        rule = None if node.domain else RULES.get(node.op)
        if rule is not None:
            rule(node, flow)
        else:
            flow.stop(node, "has no rule")
        _freeze_captures(node, flow)
    for tensor in flow.graph.outputs:
        labels = flow.of(tensor)
        if labels is not None:
            flow.freeze(labels.ids, f"'{tensor.name}' is an output of the model")


def _freeze_captures(node: gs.Node, flow: Flow) -> None:
    for body in node.subgraphs(recursive=True):
        read = [tensor for inner in body.nodes for tensor in inner.inputs]
        for tensor in [*read, *body.outputs]:
            labels = flow.of(tensor)
            if labels is not None:
                flow.freeze(labels.ids, f"'{tensor.name}' is read in a subgraph of {node.op} '{node.name}'")
