"""The layer in front of a gap, and what it is wanted to give once the block behind it is gone.

    s = W h + b [+ shortcut],   x = f(s),   y = f(s')        s: what makes the entry of the block, s' its exit

The layer is fitted so that its sum is s', and y comes out of it where x did. f is the identity, or an activation that
both ends of the block have (`compiler.graph.blocks`). Nothing but the block may read x, s or the layer's output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...compiler.graph.blocks import Block, handed_on, kind_of
from ...compiler.graph.copies import copy_graph

LAYERS = ("Conv", "Gemm")
NOTHING: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True)
class Front:
    """By names of tensors.

    Attributes:
        output: of the layer.
        total: the sum that it is part of, `output` itself where nothing is added.
        shortcut: what is added, or "".
        wanted: what the sum is to be, a tensor of the network before.
    """

    output: str
    total: str
    shortcut: str
    wanted: str


def front_of(block: Block, stands_for: Mapping[str, str]) -> Front | None:
    """In a network that still has the block; None where no layer alone makes what enters it.

    Args:
        stands_for: sums that stand for another tensor of the network before already.
    """
    inside = {id(node) for node in block.nodes}
    *between, source = handed_on(block.entry)
    if any(id(reader) not in inside for reader in block.entry.outputs):
        return None
    if between and any(len(tensor.outputs) != 1 for tensor in (*between[1:], source)):
        return None
    total, wanted = source, block.exit
    if kind_of(source) != "sum":
        if kind_of(block.exit) != kind_of(source):
            return None
        total, wanted = _argument(source), _argument(block.exit)
    if total is None or wanted is None or kind_of(total) != "sum" or not total.inputs:
        return None
    return _front(total, stands_for.get(wanted.name, wanted.name))


def _front(total: gs.Tensor, wanted: str) -> Front | None:
    node = total.inputs[0]
    if node.op in LAYERS:
        return Front(total.name, total.name, "", wanted)
    layers = [tensor for tensor in node.inputs if tensor.inputs and tensor.inputs[0].op in LAYERS]
    output = next((tensor for tensor in layers if len(tensor.outputs) == 1), None)
    if node.op != "Add" or output is None:
        return None
    other = next((tensor for tensor in node.inputs if tensor is not output), None)
    return None if other is None or not other.inputs else Front(output.name, total.name, other.name, wanted)


def _argument(tensor: gs.Tensor) -> gs.Tensor | None:
    """a of f(a) and of a * g(a), where nothing else reads it."""
    node = tensor.inputs[0]
    varying = [each for each in node.inputs if each.inputs]
    if len(varying) == 1:
        return varying[0] if len(varying[0].outputs) == 1 else None
    if node.op != "Mul" or len(varying) != 2:
        return None
    return next((a for a, gate in (varying, varying[::-1]) if _gates(gate, a)), None)


def _gates(gate: gs.Tensor, a: gs.Tensor) -> bool:
    makers = gate.inputs[0].inputs
    return bool(makers) and makers[0] is a and len(gate.outputs) == 1 and len(a.outputs) == 2


def reference_for(before: gs.Graph, fronts: Iterable[Front], parts: Mapping[str, Sequence[str]] = NOTHING) -> gs.Graph:
    """A copy of the network before, in which the output of each layer that is to give something else has the name of
    that: so it is fitted in step like any other layer (`runtime.lockstep`).

    Args:
        parts: by tensor of the network that is fitted, those of the network before that it has side by side.
    """
    graph = copy_graph(before)
    tensors = graph.tensors()
    for front in fronts:
        operands = [tensors[name] for name in (front.wanted, front.shortcut) if name]
        _name(graph, tensors, front.output, gs.Node("Sub" if front.shortcut else "Identity", inputs=operands))
    for name, beside in parts.items():
        _name(graph, tensors, name, gs.Node("Concat", attrs={"axis": 1}, inputs=[tensors[each] for each in beside]))
    return graph


def _name(graph: gs.Graph, tensors: Mapping[str, gs.Tensor], name: str, maker: gs.Node) -> None:
    """Let what the node makes have the name, and a tensor that had it another."""
    if name in tensors:
        tensors[name].name = f"{name}.before"
    maker.name = f"{name}.wanted"
    maker.outputs = [gs.Variable(name, maker.inputs[0].dtype)]
    makers = {id(node) for tensor in maker.inputs for node in tensor.inputs}
    last = max(index for index, node in enumerate(graph.nodes) if id(node) in makers)
    graph.nodes.insert(last + 1, maker)
