"""Convs whose weight is not stored but computed from constants: codes and a codebook, segments of a vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from ..convs import is_conv
from ..weights import resolve


@dataclass(frozen=True, eq=False)
class ComputedConv:
    """A Conv with a computed weight.

    Attributes:
        shape: of the weight, (N, C/g, k...).
        stored: values in the constants that the weight and the bias are computed from; those that several Convs read
            count for the first.
    """

    node: gs.Node
    shape: tuple[int, ...]
    stored: int


def computed_convs(graph: gs.Graph, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[ComputedConv]:
    """Every Conv of the main graph whose weight is computed from constants alone and has a known shape."""
    inputs, counted = {id(tensor) for tensor in graph.inputs}, set[int]()
    for node in graph.nodes:
        if not is_conv(node) or node.inputs[1].name not in shapes or resolve(node.inputs[1]) is not None:
            continue
        sources = constant_sources(node.inputs[1], inputs)
        if sources is not None:
            bias = [tensor for tensor in node.inputs[2:] if isinstance(tensor, gs.Constant)]
            own = [each for each in [*sources, *bias] if id(each) not in counted]
            counted.update(map(id, own))
            yield ComputedConv(node, shapes[node.inputs[1].name], sum(prod(tensor.shape) for tensor in own))


def constant_sources(tensor: gs.Tensor, inputs: set[int]) -> list[gs.Constant] | None:
    """The constants that `tensor` is computed from; None where it depends on a model input (`inputs`: their ids)."""
    found: dict[int, gs.Constant] = {}
    stack, seen = [tensor], set[int]()
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if id(current) in inputs or not (isinstance(current, gs.Constant) or current.inputs):
            return None
        if isinstance(current, gs.Constant):
            found[id(current)] = current
        else:
            stack.extend(current.inputs[0].inputs)
    return list(found.values())
