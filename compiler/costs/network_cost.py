"""What a network costs: multiply-accumulates and parameters of its Conv layers, for one sample.

A Conv has those of its `ConvWorkload`; a tensor that several read is stored once, and counts for the first. A weight
that is computed in the graph has the MACs of its shape and the parameters that are stored for it. A SpatialBasisConv
has those of its templates and transforms (`graph.storage.operators`).
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
from ..graph.ties import stored_tensor
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
    counted = set[int]()
    for conv in find_convs(graph):
        sizes = {id(stored_tensor(tensor)): size for tensor, size in _parameters(conv)}
        yield conv.name, Cost(conv_workload(conv, shapes).macs, sum(sizes[each] for each in sizes.keys() - counted))
        counted.update(sizes)
    for computed in computed_convs(graph, shapes):
        yield computed.node.name, Cost(prod(computed.shape) * _positions(computed.node, shapes), computed.stored)
    for template in template_convs(graph):
        yield template.node.name, Cost(template.macs * _positions(template.node, shapes), template.params)


def _parameters(conv: Conv) -> Iterator[tuple[gs.Tensor, int]]:
    """Weight and bias, and how many values they have."""
    yield conv.node.inputs[1], conv.weight.size
    if conv.bias is not None:
        yield conv.node.inputs[2], conv.bias.size


def _positions(node: gs.Node, shapes: Shapes) -> int:
    return positions(node.outputs[0], shapes)
