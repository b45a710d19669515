"""What stands between a tensor and all that reads it, where that is a function of its entries alone.

    x -> f -> y        f: element by element, constants in it are scalars        SiLU, HardSwish, HardSigmoid, LeakyRelu

Where x has a pair (`qdq`, rule 10), y is the first that anything else sees of its rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..channels.rules.elementwise import BROADCAST, UNARY
from ..weights import resolve

FUNCTIONS = frozenset((*UNARY, *BROADCAST))


@dataclass(frozen=True, eq=False)
class Gate:
    """The nodes of f, in topological order, and the tensor y that they make of `tensor`."""

    tensor: gs.Tensor
    nodes: Sequence[gs.Node]
    result: gs.Tensor


def gate_behind(graph: gs.Graph, tensor: gs.Tensor, quantized: Collection[str]) -> Gate | None:
    """None where something else reads `tensor`, too, or there are several such y.

    `quantized`: names of the tensors that have pairs; f ends there.
    """
    inside, nodes = {id(tensor)}, list[gs.Node]()
    for node in graph.nodes:
        if _is_function_of(node, inside):
            nodes.append(node)
            inside.update(id(made) for made in node.outputs if made.name not in quantized)
    made = [tensor, *(each for node in nodes for each in node.outputs)]
    members, outputs = {id(node) for node in nodes}, {id(each) for each in graph.outputs}
    read = [
        each
        for each in made
        if id(each) not in inside or id(each) in outputs or any(id(reader) not in members for reader in each.outputs)
    ]
    return Gate(tensor, nodes, read[0]) if len(read) == 1 and read[0] is not tensor else None


def _is_function_of(node: gs.Node, inside: Collection[int]) -> bool:
    if node.op not in FUNCTIONS or node.domain not in (None, "", "ai.onnx"):
        return False
    others = [each for each in node.inputs if id(each) not in inside and not each.is_empty()]
    return len(others) < len(node.inputs) and all(_is_scalar(each) for each in others)


def _is_scalar(tensor: gs.Tensor) -> bool:
    value = resolve(tensor)
    return value is not None and value.size == 1
