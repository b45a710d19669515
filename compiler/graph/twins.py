"""Tensors that are equal wherever the inputs of a network are: those of twin branches that share their weights.

Inputs of one type and shape are taken for equal; a node of the same operator and attributes computes the same from the
same. A rewrite that treats the tensors of one class alike keeps a network that compares two pictures by comparing what
one network says of each.
"""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import sha256

import onnx_graphsurgeon as gs

from .weights import values_of


def twin_classes(graph: gs.Graph) -> list[list[str]]:
    """The names of tensors that the nodes of the main graph compute, class by class; classes of one are left out."""
    numbers: dict[Hashable, int] = {}
    classes: dict[int, list[str]] = {}
    of_tensor: dict[int, int] = {}

    def number(key: Hashable) -> int:
        return numbers.setdefault(key, len(numbers))

    for tensor in graph.inputs:
        of_tensor[id(tensor)] = number(("input", str(tensor.dtype), str(tensor.shape)))
        classes.setdefault(of_tensor[id(tensor)], []).append(tensor.name)
    if len(classes) == len(graph.inputs):
        return []
    for node in graph.nodes:
        read = tuple(of_tensor.setdefault(id(each), number(_source(each))) for each in node.inputs)
        own = id(node) if list(node.subgraphs()) else repr(sorted(node.attrs.items()))
        for index, tensor in enumerate(node.outputs):
            of_tensor[id(tensor)] = number((node.op, node.domain, own, read, index))
            classes.setdefault(of_tensor[id(tensor)], []).append(tensor.name)
    return [names for names in classes.values() if len(names) > 1]


def _source(tensor: gs.Tensor) -> Hashable:
    """A constant, by what it holds; an input that is not given; or a tensor from outside of the graph."""
    if tensor.is_empty():
        return ""
    values = values_of(tensor) if isinstance(tensor, gs.Constant) else None
    return id(tensor) if values is None else (values.dtype.str, values.shape, sha256(values.tobytes()).digest())
