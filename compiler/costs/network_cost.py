"""What a network costs: multiply-accumulates and parameters of its Conv layers, for one sample.

A Conv has those of its `ConvWorkload`. A weight that is computed in the graph has the MACs of its shape and the
parameters that are stored for it. A SpatialBasisConv has those of its templates and transforms
(`graph.storage.operators`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from ..graph.convs import find_convs
from ..graph.shapes import Shapes
from ..graph.storage.computed import computed_convs
from ..graph.storage.operators import template_convs
from .workload import conv_workload, positions


@dataclass(frozen=True)
class Cost:
    """Sums over the Convs of a graph.

    Attributes:
        macs: multiply-accumulates of one sample.
        params: weights and biases.
    """

    macs: int
    params: int


def graph_cost(graph: gs.Graph, shapes: Shapes) -> Cost:
    """All Convs of the main graph together."""
    costs = [cost for _, cost in conv_costs(graph, shapes)]
    return Cost(sum(cost.macs for cost in costs), sum(cost.params for cost in costs))


def conv_costs(graph: gs.Graph, shapes: Shapes) -> Iterator[tuple[str, Cost]]:
    """Name and cost of every Conv of the main graph."""
    for conv in find_convs(graph):
        workload = conv_workload(conv, shapes)
        yield conv.name, Cost(workload.macs, workload.params)
    for computed in computed_convs(graph, shapes):
        yield computed.node.name, Cost(prod(computed.shape) * _positions(computed.node, shapes), computed.stored)
    for template in template_convs(graph):
        yield template.node.name, Cost(template.macs * _positions(template.node, shapes), template.params)


def _positions(node: gs.Node, shapes: Shapes) -> int:
    return positions(node.outputs[0], shapes)
