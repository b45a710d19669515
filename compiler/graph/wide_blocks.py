"""One wide block in the place of two residual blocks in a row.

    y = f(x + F(x)),  z = f(y + G(y))        becomes        z = f(x + F(x) + G(x))

A residual branch changes by little what it is added to, so that G finds in x nearly what it would have found in y: most
paths through a residual network are short (Veit, Wilber and Belongie, "Residual Networks Behave Like Ensembles of
Relatively Shallow Networks", 2016). Side by side the branches are one, of their joint width:

    Convs that read x      have the filters of both
    Convs in between       have the groups of both
    the last Conv          has the inputs of both, and adds up what they give

Half the kernels do the same multiplications. It is exact where F gives zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .block_pairs import BlockPair, Twins, channel_axis
from .blocks import Block
from .convs import has_bias
from .rewriter import Rewriter
from .weights import resolve


@dataclass(frozen=True, eq=False)
class WideBlock:
    """What does the work of a pair.

    Attributes:
        nodes: in graph order: those of the branch, the sum, and the activation behind it where the blocks have one.
        output: what the branch gives.
        total: the sum of it and what enters the block.
        parts: by inner tensor of the branch, the two of the pair that it has side by side (axis 1).
    """

    nodes: tuple[gs.Node, ...]
    output: gs.Tensor
    total: gs.Tensor
    parts: Mapping[str, tuple[str, str]]


def put_beside(rewriter: Rewriter, pair: BlockPair) -> WideBlock:
    """Put the wide block beside the pair: it reads the same, and nothing reads it."""
    made: dict[int, gs.Tensor] = {id(pair.first.entry): pair.first.entry}
    parts, nodes = dict[str, tuple[str, str]](), list[gs.Node]()
    for twins in pair.twins:
        nodes.append(_joined(rewriter, twins, made))
        parts[nodes[-1].outputs[0].name] = twins.first.outputs[0].name, twins.second.outputs[0].name
    output = nodes[-1].outputs[0]
    del parts[output.name]
    nodes += [_copied(rewriter, node, made) for node in _ends(pair.first)]
    rewriter.insert_before(pair.first.nodes[0], nodes)
    return WideBlock(tuple(nodes), output, made[id(pair.first.before)], parts)


def merge_pair(rewriter: Rewriter, pair: BlockPair) -> WideBlock:
    """Put the wide block in the place of the pair. Its nodes and inner tensors have the names of those of the first;
    its sum and its exit are those of the second, so that the network can be compared with the one before."""
    wide = put_beside(rewriter, pair)
    names = [node.name for node in (*(twins.first for twins in pair.twins), *_ends(pair.first))]
    tensors = [twins.first.outputs[0].name for twins in pair.twins]
    ends, gone = _ends(pair.second), pair.nodes
    for node, end in zip(wide.nodes[-len(ends) :], ends, strict=True):
        rewriter.take_over(node, end)
    for node in reversed(gone):
        if all(node is not end for end in ends):
            rewriter.remove(node)
    for node, name in zip(wide.nodes, names, strict=True):
        node.name = name
    for node, name in zip(wide.nodes[: len(tensors)], tensors, strict=True):
        node.outputs[0].name = name
    return WideBlock(wide.nodes, wide.output, pair.second.before, {parts[0]: parts for parts in wide.parts.values()})


def _ends(block: Block) -> list[gs.Node]:
    """The sum, and the activation behind it."""
    ends = [block.before.inputs[0]]
    return ends if block.before is block.exit else [*ends, block.exit.inputs[0]]


def _copied(rewriter: Rewriter, node: gs.Node, made: dict[int, gs.Tensor]) -> gs.Node:
    return _made(rewriter, node, [made.get(id(tensor), tensor) for tensor in node.inputs], dict(node.attrs), made)


def _joined(rewriter: Rewriter, twins: Twins, made: dict[int, gs.Tensor]) -> gs.Node:
    a, b = twins.first, twins.second
    if twins.role != "by channel":
        inputs = [made[id(a.inputs[0])], *(_constant(rewriter, twins, i) for i in range(1, 3 if has_bias(a) else 2))]
        return _made(rewriter, a, inputs, {**a.attrs, "group": _groups(twins)}, made)
    inputs = list[gs.Tensor]()
    for x, y in zip(a.inputs, b.inputs, strict=True):
        axis = channel_axis(x)
        joined = None if axis is None else rewriter.constant(x.name, np.concatenate(_values(x, y), axis))
        inputs.append(joined or made.get(id(x), x))
    return _made(rewriter, a, inputs, dict(a.attrs), made)


def _made(
    rewriter: Rewriter, like: gs.Node, inputs: list[gs.Tensor], attrs: dict[str, Any], made: dict[int, gs.Tensor]
) -> gs.Node:
    tensor = like.outputs[0]
    made[id(tensor)] = rewriter.variable(tensor.name, tensor.dtype)
    return rewriter.node(like.op, inputs, [made[id(tensor)]], like.name, attrs)


def _groups(twins: Twins) -> int:
    groups = [int(node.attrs.get("group", 1)) for node in (twins.first, twins.second)]
    return sum(groups) if twins.role == "inner" else 1


def _constant(rewriter: Rewriter, twins: Twins, index: int) -> gs.Constant:
    """The weight (input 1) or the bias (2)."""
    values = _values(twins.first.inputs[index], twins.second.inputs[index])
    name = twins.first.inputs[index].name
    if twins.role != "last":
        return rewriter.constant(name, np.concatenate(values))
    return rewriter.constant(name, np.concatenate(values, 1) if index == 1 else values[0] + values[1])


def _values(*constants: gs.Tensor) -> list[np.ndarray]:
    return [values for each in constants if (values := resolve(each)) is not None]
