"""What a network costs: multiply-accumulates and parameters of its Conv layers, for one sample.

MACs(Conv) = P * N * C/g * prod(k)         P: output positions

A weight that is computed in the graph has the MACs of its shape and the parameters that are stored for it. A
SpatialBasisConv has those of its templates and transforms (`graph.operators`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from .graph.computed import computed_convs
from .graph.convs import Conv, find_convs
from .graph.operators import template_convs
from .shapes import Shapes


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
    """The cost of every Conv of the main graph."""
    convs = list(find_convs(graph))
    computed, templates = list(computed_convs(graph, shapes)), list(template_convs(graph))
    macs = sum(conv_macs(conv, shapes) for conv in convs)
    macs += sum(prod(conv.shape) * prod(shapes.get(conv.node.outputs[0].name, ())[2:]) for conv in computed)
    macs += sum(conv.macs * prod(shapes.get(conv.node.outputs[0].name, ())[2:]) for conv in templates)
    params = [*map(conv_params, convs), *(conv.stored for conv in computed), *(conv.params for conv in templates)]
    return Cost(macs, sum(params))
