"""What a network costs: multiply-accumulates and parameters of its Conv layers, for one sample.

A Conv has those of its `ConvWorkload`; a tensor that several read is stored once, and counts for the first. A weight
that is computed in the graph has the MACs of its shape and the parameters that are stored for it. A SpatialBasisConv
has those of its templates and transforms (`graph.storage.operators`). A Conv that no pass can rewrite counts all the
same: one whose weight is a model input or computed from one, an integer one, and those that onnxruntime makes of a Conv
(`graph.convs.WEIGHTS`). Not counted are Convs inside subgraphs, which run as often as values say, and all that is no
Conv.

MACs are None where a shape that they hang on is not known: nothing is counted from a guess.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from ..graph.convs import WEIGHTS, Conv, find_convs
from ..graph.shapes import Shapes
from ..graph.storage.computed import computed_convs
from ..graph.storage.operators import template_convs
from ..graph.ties import stored_tensor
from .unknown import size, unknown_shape
from .workload import conv_workload, total


@dataclass(frozen=True)
class Cost:
    """Sums over the Convs of a graph.

    Attributes:
        macs: multiply-accumulates of one sample; None where a shape is not known.
        params: weights and biases.
    """

    macs: int | None
    params: int


def graph_cost(graph: gs.Graph, shapes: Shapes) -> Cost:
    """All Convs of the main graph together."""
    costs = [cost for _, cost in conv_costs(graph, shapes)]
    return Cost(total(cost.macs for cost in costs), sum(cost.params for cost in costs))


def conv_costs(graph: gs.Graph, shapes: Shapes) -> Iterator[tuple[str, Cost]]:
    """Name and cost of every Conv of the main graph."""
    stored = set[int]()
    seen = set[int]()
    for conv in find_convs(graph):
        seen.add(id(conv.node))
        sizes = {id(stored_tensor(tensor)): size for tensor, size in _parameters(conv)}
        yield conv.name, Cost(conv_workload(conv, shapes).macs, sum(sizes[each] for each in sizes.keys() - stored))
        stored.update(sizes)
    for computed in computed_convs(graph, shapes):
        seen.add(id(computed.node))
        yield computed.node.name, Cost(_macs(prod(computed.shape), computed.node, shapes), computed.stored)
    for template in template_convs(graph):
        yield template.node.name, Cost(_macs(template.macs, template.node, shapes), template.params)
    for node in other_convs(graph, seen):
        yield node.name, _of_other(node, shapes, stored)


def _parameters(conv: Conv) -> Iterator[tuple[gs.Tensor, int]]:
    """Weight and bias, and how many values they have."""
    yield conv.node.inputs[1], conv.weight.size
    if conv.bias is not None:
        yield conv.node.inputs[2], conv.bias.size


def other_convs(graph: gs.Graph, counted: Collection[int] = ()) -> Iterator[gs.Node]:
    """The nodes of `WEIGHTS`, without those whose ids are in `counted`."""
    return (node for node in graph.nodes if (node.domain or "", node.op) in WEIGHTS and id(node) not in counted)


def require_macs(graph: gs.Graph, shapes: Shapes) -> None:
    """`UnknownShape` where the MACs of the Convs cannot be counted."""
    needed = [(_weight(node), *node.outputs[:1]) for node in other_convs(graph)]
    needed += [tuple(template.node.outputs[:1]) for template in template_convs(graph)]
    for tensor in (tensor for tensors in needed for tensor in tensors):
        if size(tensor, shapes) is None:
            raise unknown_shape(graph, shapes, tensor)


def _weight(node: gs.Node) -> gs.Tensor:
    return node.inputs[WEIGHTS[node.domain or "", node.op][0]]


def _of_other(node: gs.Node, shapes: Shapes, counted: set[int]) -> Cost:
    """`counted`: ids of the stored tensors whose parameters are counted already; the node's are added."""
    weight, bias = _weight(node), WEIGHTS[node.domain or "", node.op][1]
    shape = size(weight, shapes)
    parts = {id(each): each for each in (weight, *node.inputs[bias : bias + 1]) if isinstance(each, gs.Constant)}
    stored = sum(prod(parts[each].shape) for each in parts.keys() - counted)
    counted.update(parts)
    return Cost(None if shape is None else _macs(prod(shape), node, shapes), stored)


def _macs(weights: int, node: gs.Node, shapes: Shapes) -> int | None:
    """`weights`: multiply-accumulates per position of the output."""
    output = size(node.outputs[0], shapes)
    if output is None:
        return None
    channels_last = node.op.startswith("Nhwc") or bool(node.attrs.get("channels_last", 0))
    return weights * prod(output[1:-1] if channels_last else output[2:])
