"""Two residual blocks in a row that one wide block can do the work of (`wide_blocks`).

    y = f(x + F(x)),  z = f(y + G(y))

The branches F and G have to be alike, node by node, so that they can stand side by side on the channel axis: Convs of
one form, which differ in their numbers of filters alone; activations, pools, products; constants that are equal, or one
value per channel. f is the identity, or an activation that leaves x as it is (rule 3 of `blocks`), and one for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from .blocks import ACTIVATIONS, PASSES_ON, Block, handed_on
from .convs import has_bias, is_conv
from .weights import resolve

SCALES = frozenset(("Mul", "Div", "Add", "Sub"))
POOLS = frozenset(("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"))
BY_CHANNEL = ACTIVATIONS | SCALES | POOLS | PASSES_ON
Role = Literal["first", "inner", "last", "by channel"]


@dataclass(frozen=True, eq=False)
class Twins:
    """Two nodes that do the same in their branches.

    Attributes:
        role: of a Conv that reads x, of the one that gives the output of the branch, and of those in between; or each
            output channel of the node depends on the same channel of its inputs alone.
    """

    first: gs.Node
    second: gs.Node
    role: Role


@dataclass(frozen=True, eq=False)
class BlockPair:
    """Two blocks that can become one.

    Attributes:
        first, second: in the order in which they stand; what leaves the first enters the second, and nothing else.
        between: Identities from one to the other.
        twins: the nodes of their branches, in graph order.
    """

    first: Block
    second: Block
    between: tuple[gs.Node, ...]
    twins: tuple[Twins, ...]

    @property
    def name(self) -> str:
        return f"{self.first.name} + {self.second.name}"

    @property
    def entry(self) -> gs.Tensor:
        return self.first.entry

    @property
    def nodes(self) -> tuple[gs.Node, ...]:
        return (*self.first.nodes, *self.between, *self.second.nodes)

    @property
    def chain(self) -> tuple[str, ...]:
        """Sentences on why they can."""
        return (
            f"its branch of {len(self.twins)} nodes is like that of '{self.first.name}' in front of it",
            f"side by side with it, it reads '{self.first.entry.name}'",
        )

    def within(self, graph: gs.Graph) -> BlockPair:
        """The same pair in a copy of its graph."""
        nodes = {node.name: node for node in graph.nodes}
        twins = tuple(Twins(nodes[each.first.name], nodes[each.second.name], each.role) for each in self.twins)
        between = tuple(nodes[node.name] for node in self.between)
        return BlockPair(self.first.within(graph), self.second.within(graph), between, twins)


def find_pairs(graph: gs.Graph, blocks: Sequence[Block]) -> list[BlockPair]:
    """Of blocks of the graph, in graph order."""
    by_exit = {id(block.exit): block for block in blocks}
    outputs = {id(tensor) for tensor in graph.outputs}
    found = (_pair(by_exit, block) for block in blocks)
    return [pair for pair in found if pair is not None and id(pair.first.exit) not in outputs]


def _pair(by_exit: Mapping[int, Block], second: Block) -> BlockPair | None:
    way = list(_way(second.entry, by_exit))
    first = by_exit.get(id(way[-1]))
    inside = {id(node) for node in second.nodes}
    if first is None or any(id(reader) not in inside for reader in second.entry.outputs):
        return None
    if any(len(tensor.outputs) != 1 for tensor in way[1:]):
        return None
    twins = _twins(first, second)
    return None if twins is None else BlockPair(first, second, tuple(each.inputs[0] for each in way[:-1]), twins)


def _way(tensor: gs.Tensor, by_exit: Mapping[int, Block]) -> Iterator[gs.Tensor]:
    """The tensor and those that it is handed on from, up to the exit of a block."""
    for each in handed_on(tensor):
        yield each
        if id(each) in by_exit:
            return


def _branch(block: Block) -> tuple[list[gs.Node], gs.Tensor] | None:
    """The nodes from the entry to the sum, and what they give; None where the entry itself is not added to it."""
    join = block.before.inputs[0]
    others = [tensor for tensor in join.inputs if tensor is not block.entry]
    if join.op != "Add" or len(join.inputs) != 2 or len(others) != 1 or len(others[0].outputs) != 1:
        return None
    ends = (id(join), id(block.exit.inputs[0]))
    return [node for node in block.nodes if id(node) not in ends], others[0]


def _twins(first: Block, second: Block) -> tuple[Twins, ...] | None:
    """None where the branches are not alike."""
    branch, beside = _branch(first), _branch(second)
    if branch is None or beside is None or not _same_end(first, second):
        return None
    (nodes, output), (others, other) = branch, beside
    if len(nodes) < 2 or len(nodes) != len(others):
        return None
    found, twin = list[Twins](), {id(first.entry): second.entry}
    for a, b in zip(nodes, others, strict=True):
        role = _role(a, b, twin, first.entry, output)
        if role is None:
            return None
        found.append(Twins(a, b, role))
        twin[id(a.outputs[0])] = b.outputs[0]
    return tuple(found) if twin.get(id(output)) is other and found[-1].role == "last" else None


def _same_end(first: Block, second: Block) -> bool:
    """Whether the same is behind their sums: nothing, or one activation."""
    a, b = (block.exit.inputs[0] for block in (first, second))
    return (first.before is first.exit) == (second.before is second.exit) and _same_form(a, b) and _same_constants(a, b)


def _role(a: gs.Node, b: gs.Node, twin: Mapping[int, gs.Tensor], entry: gs.Tensor, output: gs.Tensor) -> Role | None:
    """None where the nodes are not alike."""
    varying = [(x, y) for x, y in zip(a.inputs, b.inputs, strict=False) if not _fixed(x) or not _fixed(y)]
    if not _same_form(a, b) or len(a.outputs) != 1 or any(twin.get(id(x)) is not y for x, y in varying):
        return None
    if is_conv(a):
        role: Role = "first" if a.inputs[0] is entry else "last" if a.outputs[0] is output else "inner"
        return role if len(varying) == 1 and _fit_together(a, b, role) else None
    sums = a.op in SCALES - {"Mul"} and len(varying) > 1
    if a.op not in BY_CHANNEL or sums or a.outputs[0] is output or any(x is entry for x, _ in varying):
        return None
    return "by channel" if _same_constants(a, b) else None


def _fixed(tensor: gs.Tensor) -> bool:
    return tensor.is_empty() or resolve(tensor) is not None


def _same_form(a: gs.Node, b: gs.Node) -> bool:
    """But for the number of groups."""
    attrs = [{**node.attrs, "group": 1} for node in (a, b)]
    return a.op == b.op and not a.domain and not b.domain and attrs[0] == attrs[1] and len(a.inputs) == len(b.inputs)


def _same_constants(a: gs.Node, b: gs.Node) -> bool:
    """Or such that have one value per channel."""
    pairs = [(x, y) for x, y in zip(a.inputs, b.inputs, strict=True) if _fixed(x) or _fixed(y)]
    return all(_same(x, y) or (channel_axis(x) is not None and channel_axis(x) == channel_axis(y)) for x, y in pairs)


def _same(x: gs.Tensor, y: gs.Tensor) -> bool:
    if x.is_empty() or y.is_empty():
        return x.is_empty() and y.is_empty()
    a, b = resolve(x), resolve(y)
    return a is not None and b is not None and a.size == 1 and a.dtype == b.dtype and np.array_equal(a, b)


def channel_axis(constant: gs.Tensor) -> int | None:
    """Of one value per channel of images, (C, 1, 1) or (1, C, 1, 1); None for other constants."""
    values = None if constant.is_empty() else resolve(constant)
    if values is None or values.dtype.kind != "f" or values.size == 1:
        return None
    return next((axis for axis in (0, 1) if values.shape == (*[1] * axis, values.size, 1, 1)), None)


def _fit_together(a: gs.Node, b: gs.Node, role: Role) -> bool:
    """Whether two Convs can be one, the filters of both beside each other or, of the last ones, their inputs."""
    w, v = (resolve(node.inputs[1]) for node in (a, b))
    if w is None or v is None or w.dtype != v.dtype or w.dtype.kind != "f" or has_bias(a) != has_bias(b):
        return False
    groups = [int(node.attrs.get("group", 1)) for node in (a, b)]
    if role == "inner":
        return w.shape[1:] == v.shape[1:] and len(w) // groups[0] == len(v) // groups[1]
    own = 1 if role == "last" else 0
    return groups == [1, 1] and all(a == b for i, (a, b) in enumerate(zip(w.shape, v.shape, strict=True)) if i != own)
