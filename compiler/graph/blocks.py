"""Blocks: parts of a network that can be taken out whole, because what leaves them is of the kind that enters them.

A block has one entry x and one exit y, tensors of one shape and type. All its nodes compute from x and constants alone,
nothing outside reads what they write but y, and a layer with a weight is among them. Without it, the readers of y read
x. Where y = x + f(x) or y = x * f(x), that is the network whose branch f gives zeros, or ones.

The block of y begins at the nearest tensor of its shape that all ways to y lead through (`dominators`), with a layer
between the two.

1. y = x + f(x), whatever f is: residual blocks of all kinds, with gates, scales and squeeze-and-excite in the branch;
   y = x * f(x): the gate of a squeeze-and-excite.
2. Other blocks replace x by what a layer makes of it: a Conv and its activation among equal ones, a whole CSP stage.
   They count where x and y come from like operators: a Relu in the place of a Relu, a sum in the place of a sum.
3. An activation behind y belongs to the block where it leaves x as it is, as x comes from such a one: relu(x + f(x)).

Quantized activations keep their blocks: the grid of y would not fit x.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from .activations import BY_OPERATOR
from .comparable import reads
from .dominators import DominatorTree
from .quantization.quantizable import is_layer
from .rewriter import Rewriter
from .shapes import Shapes
from .weights import resolve

PASSES_ON = frozenset(("Identity", "Dropout"))
KEEPS_RANGE = PASSES_ON | {"MaxPool", "AveragePool", "GlobalAveragePool"}
ROUNDS = frozenset(("QuantizeLinear", "DequantizeLinear"))
JOINS = frozenset(("Add", "Mul"))
SUMS = frozenset(("Add", "Sum", "Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"))
"""What may have any sign and size."""
OTHERS = ("Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Selu", "Celu", "Softplus", "Softsign", "PRelu")
ACTIVATIONS = frozenset((*BY_OPERATOR, *OTHERS, "ThresholdedRelu", "Mish", "Gelu", "Erf"))
"""What reads the sum of a layer belongs to it."""


@dataclass(frozen=True, eq=False)
class Block:
    """A block that can go.

    Attributes:
        name: of the node that joins its branches, or of its last layer.
        entry, exit: x and y.
        before: what `exit` is before the activation that belongs to the block by rule 3; else `exit` itself.
        nodes: in graph order.
        chain: sentences on why it is a block.
    """

    name: str
    entry: gs.Tensor
    exit: gs.Tensor
    before: gs.Tensor
    nodes: tuple[gs.Node, ...]
    chain: tuple[str, ...]

    @property
    def layers(self) -> list[str]:
        """The names of its layers."""
        return [node.name for node in self.nodes if is_layer(node)]

    def within(self, graph: gs.Graph) -> Block:
        """The same block in a copy of its graph."""
        tensors, nodes = graph.tensors(), {node.name: node for node in graph.nodes}
        entry, result, before = (tensors[each.name] for each in (self.entry, self.exit, self.before))
        return Block(self.name, entry, result, before, tuple(nodes[node.name] for node in self.nodes), self.chain)


@dataclass(frozen=True)
class Blocks:
    """The blocks of a graph, in graph order; and by name of the node that joins branches, why the others stay."""

    found: tuple[Block, ...]
    refused: Mapping[str, str]


def find_blocks(graph: gs.Graph, shapes: Shapes) -> Blocks:
    """Of the main graph. `shapes`: of one sample, those that are known."""
    tree = DominatorTree(graph)
    search = _Search(graph, shapes, tree)
    found: dict[frozenset[int], Block] = {}
    refused: dict[str, str] = {}
    for node in graph.nodes:
        if len(node.outputs) != 1 or node.outputs[0].name not in tree.parents:
            continue
        block = search.block(node)
        if isinstance(block, Block):
            found.setdefault(frozenset(map(id, block.nodes)), block)
        elif block is not None:
            refused[node.name] = block
    return Blocks(tuple(found.values()), refused)


def remove_block(rewriter: Rewriter, block: Block) -> gs.Node:
    """Put an Identity in the place of a block, and return it: all tensors that stay keep their names, so that the
    network can be compared with the one before (`Rewriter.bypass` takes it out)."""
    name = f"{block.name}.identity"
    identity = rewriter.node("Identity", [block.entry], [], name, origin=block.name)
    *others, last = block.nodes
    rewriter.splice(last, [identity])
    identity.outputs.append(block.exit)
    for node in reversed(others):
        rewriter.remove(node)
    return identity


class _Search:
    def __init__(self, graph: gs.Graph, shapes: Shapes, tree: DominatorTree):
        self._shapes, self._tree = shapes, tree
        self._inputs = {tensor.name for tensor in graph.inputs}
        self._outputs = {id(tensor) for tensor in graph.outputs}
        self._position = {id(node): index for index, node in enumerate(graph.nodes)}
        self._tensors = graph.tensors()

    def block(self, last: gs.Node) -> Block | str | None:
        """That ends with the node `last`; a reason where it joins branches and is none; None elsewhere."""
        result, joins = last.outputs[0], last.op == "Add" and _joins_layers(last, self._tree)
        shape = self._shapes.get(result.name)
        if last.op in PASSES_ON:
            return None
        if shape is None:
            return f"the shape of '{result.name}' is not known" if joins else None
        for name in self._tree.above(result.name):
            if self._shapes.get(name) != shape:
                continue
            entry = self._tensors[name]
            behind = self._behind(last, entry)
            nodes = self._between(entry, result) if behind or self._fits(last, entry) else []
            if any(is_layer(node) for node in nodes):
                reason = self._refusal(nodes, entry, result)
                made = _made(last, nodes, entry, behind) if reason is None else None
                return made or (reason if joins else None)
        return self._no_entry(result) if joins else None

    def _behind(self, last: gs.Node, entry: gs.Tensor) -> gs.Node | None:
        """The activation of rule 3."""
        result = last.outputs[0]
        if len(result.outputs) != 1 or id(result) in self._outputs or id(result.outputs[0]) not in self._position:
            return None
        return result.outputs[0] if _leaves_alone(result.outputs[0], entry) else None

    def _fits(self, last: gs.Node, entry: gs.Tensor) -> bool:
        """Rules 1 and 2."""
        result = last.outputs[0]
        if _is_joined(last, entry):
            return True
        within = any(reader.op in ACTIVATIONS for reader in entry.outputs)
        return not within and kind_of(entry) == kind_of(result) and not _meets(entry, result)

    def _no_entry(self, result: gs.Tensor) -> str:
        nearest = next(self._tree.above(result.name), None)
        if nearest is None:
            return "its branches begin at several inputs of the model"
        first, last = (self._shapes.get(name) for name in (nearest, result.name))
        if first == last:
            return f"'{nearest}', where its branches begin, is not added, and comes from another operator"
        return f"its branches begin at '{nearest}' {first} and end in another shape, {last}"

    def _between(self, entry: gs.Tensor, result: gs.Tensor) -> list[gs.Node]:
        """The nodes from `entry` to `result`, without those that compute from constants only."""
        waiting, seen = list(result.inputs), dict[int, gs.Node]()
        while waiting:
            node = waiting.pop()
            if id(node) in seen or id(node) not in self._position:
                continue
            seen[id(node)] = node
            for tensor in reads(node):
                if tensor.name != entry.name and tensor.name in self._tree.parents:
                    waiting += tensor.inputs
        return sorted(seen.values(), key=lambda node: self._position[id(node)])

    def _refusal(self, nodes: list[gs.Node], entry: gs.Tensor, result: gs.Tensor) -> str | None:
        inside = {id(node) for node in nodes}
        if entry.name in self._inputs:
            return f"it begins at '{entry.name}', an input of the model"
        for node in nodes:
            if list(node.subgraphs()):
                return f"{node.op} '{node.name}' inside has a body of its own"
            if node.op in ROUNDS:
                return "its activations are quantized: remove blocks before quantize"
            for tensor in node.outputs:
                if tensor is result:
                    continue
                if id(tensor) in self._outputs:
                    return f"'{tensor.name}' inside is an output of the model"
                outside = next((reader for reader in tensor.outputs if id(reader) not in inside), None)
                if outside is not None:
                    return f"'{tensor.name}' inside is read by {outside.op} '{outside.name}' outside"
        rounded = next((each for each in (*entry.inputs, *result.outputs) if each.op in ROUNDS), None)
        if rounded is not None:
            return "its activations are quantized: remove blocks before quantize"
        return None


def _made(last: gs.Node, nodes: list[gs.Node], entry: gs.Tensor, behind: gs.Node | None) -> Block | None:
    before = last.outputs[0]
    result = before if behind is None else behind.outputs[0]
    if entry.dtype is not None and result.dtype is not None and entry.dtype != result.dtype:
        return None
    whole = (*nodes, *([] if behind is None else [behind]))
    layers = [node.name for node in nodes if is_layer(node)]
    joined = _is_joined(last, entry)
    name = last.name if joined or len(layers) > 1 else layers[-1]
    return Block(name, entry, result, before, whole, tuple(_chain(last, entry, result, joined, layers)))


def _chain(last: gs.Node, entry: gs.Tensor, result: gs.Tensor, joined: bool, layers: list[str]) -> Iterator[str]:
    what = "layer" if len(layers) == 1 else "layers"
    yield f"{len(layers)} {what} from '{entry.name}' to '{result.name}', which have one shape"
    if joined:
        yield f"{last.op} '{last.name}' joins them with what they read"
    if result is not last.outputs[0]:
        node = result.inputs[0]
        yield f"{node.op} '{node.name}' behind them leaves '{entry.name}' as it is"


def _joins_layers(node: gs.Node, tree: DominatorTree) -> bool:
    """Whether two operands depend on the input of the model."""
    return sum(tensor.name in tree.parents for tensor in node.inputs) > 1


def _is_joined(last: gs.Node, entry: gs.Tensor) -> bool:
    """Rule 1."""
    operands = (each for tensor in last.inputs for each in handed_on(tensor))
    return last.op in JOINS and not last.domain and any(each is entry for each in operands)


def _meets(entry: gs.Tensor, result: gs.Tensor) -> bool:
    """Whether the exit is added to the entry: without the block that would count twice."""
    return any(reader.op in JOINS and _is_joined(reader, entry) for reader in result.outputs)


def handed_on(tensor: gs.Tensor) -> Iterator[gs.Tensor]:
    """The tensor, and those before it that are handed on as they are."""
    yield tensor
    while tensor.inputs and tensor.inputs[0].op in PASSES_ON and tensor.inputs[0].inputs:
        tensor = tensor.inputs[0].inputs[0]
        yield tensor


def _leaves_alone(node: gs.Node, entry: gs.Tensor) -> bool:
    """Rule 3: f(x) = x, as x = f(...), perhaps through a pool."""
    if node.domain or node.op not in BY_OPERATOR or node.op == "LeakyRelu" or len(node.outputs) != 1:
        return False
    kind = kind_of(node.outputs[0])
    return kind is not None and kind == kind_of(entry)


def kind_of(tensor: gs.Tensor) -> object:
    """What a tensor comes from: equal for those that may stand in each other's place (rule 2)."""
    while tensor.inputs and tensor.inputs[0].op in KEEPS_RANGE and tensor.inputs[0].inputs:
        tensor = tensor.inputs[0].inputs[0]
    if not tensor.inputs:
        return None
    node = tensor.inputs[0]
    if node.domain:
        return node.domain, node.op
    if node.op in BY_OPERATOR:
        return BY_OPERATOR[node.op](node) or (node.op, repr(sorted(node.attrs.items())))
    if node.op in SUMS:
        return "sum"
    constants = [resolve(each) for each in node.inputs]
    held = tuple(None if each is None else each.tobytes() for each in constants)
    makers = tuple(maker.op for each in node.inputs for maker in each.inputs if maker.op not in SUMS)
    return node.op, repr(sorted(node.attrs.items())), held, makers
