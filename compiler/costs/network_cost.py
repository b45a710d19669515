"""What a network costs: multiply-accumulates and parameters of its Conv layers, for one sample.

MACs(Conv) = P * N * C/g * prod(k)         P: output positions

A weight that is computed in the graph has the MACs of its shape and the parameters that are stored for it. A
SpatialBasisConv has those of its templates and transforms (`graph.operators`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from ..graph.convs import Conv, find_convs
from ..graph.shapes import Shapes
from ..graph.storage.computed import computed_convs
from ..graph.storage.operators import template_convs


@dataclass(frozen=True)
class Cost:
    """Sums over the Convs of a graph.

    Attributes:
        macs: multiply-accumulates of one sample.
        params: weights and biases.
    """

    macs: int
    params: int


def positions(conv: Conv, shapes: Shapes) -> int:
    """Output positions of one sample; 1 where the shape is unknown."""
    return prod(shapes[conv.output.name][2:]) if conv.output.name in shapes else 1


def conv_macs(conv: Conv, shapes: Shapes) -> int:
    return positions(conv, shapes) * conv.filters * conv.fan_in


def conv_params(conv: Conv) -> int:
    return conv.weight.size + (0 if conv.bias is None else conv.bias.size)


def graph_cost(graph: gs.Graph, shapes: Shapes) -> Cost:
    """All Convs of the main graph together."""
    costs = [cost for _, cost in conv_costs(graph, shapes)]
    return Cost(sum(cost.macs for cost in costs), sum(cost.params for cost in costs))


def conv_costs(graph: gs.Graph, shapes: Shapes) -> Iterator[tuple[str, Cost]]:
    """Name and cost of every Conv of the main graph."""
    for conv in find_convs(graph):
        yield conv.name, Cost(conv_macs(conv, shapes), conv_params(conv))
    for computed in computed_convs(graph, shapes):
        yield computed.node.name, Cost(prod(computed.shape) * _positions(computed.node, shapes), computed.stored)
    for template in template_convs(graph):
        yield template.node.name, Cost(template.macs * _positions(template.node, shapes), template.params)


def _positions(node: gs.Node, shapes: Shapes) -> int:
    return prod(shapes.get(node.outputs[0].name, ())[2:])
