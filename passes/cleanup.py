"""Remove what an exporter leaves behind; the network computes the same.

1. Constant nodes become initializers. So do inputs with a stored value: old exporters list every weight as an input,
   and TensorRT takes them for constants. A caller can no longer give them another value, which a note says.
2. What depends on nothing but constants and known dimensions is computed once (`compiler.graph.constants`): the
   Shape-Gather-Concat chains that exporters write around Pad, Reshape and Resize become plain initializers. The batch
   stays open.
3. Identity, and Dropout outside of training, are bypassed.
4. Nodes that no output needs go.

Other inputs, and the outputs, keep their names, order and types. Left alone: Identity between an input (or an
initializer, or another output) and an output, quantized weights, whatever would make the file grow, and the inside of
subgraphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ..compiler.graph.constants import fold, lower_constants
from ..compiler.graph.rewriter import Rewriter
from ..compiler.graph.shapes import symbolic_shapes
from ..compiler.graph.training_mode import node_training_mode
from ..compiler.graph.weights import resolve
from ..compiler.pipeline.base import Decision, Pass, PassResult
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.registry import register

NAMED = 3
UNLISTED = "inputs with a stored value are taken for constants, and are no inputs any more: {count} ({names})"


@register
@dataclass(frozen=True)
class Cleanup(Pass):
    """Fold constants; remove Identity, Dropout and dead nodes; take inputs with a stored value for constants."""

    name: ClassVar[str] = "cleanup"
    exact: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        before = {node.name: node.op for node in graph.nodes}
        listed = _unlist(graph)
        lowered = lower_constants(graph)
        folded = fold_all(graph)
        bypassed = _bypass_all(Rewriter(graph, ctx.origins))
        graph.cleanup(recurse_subgraphs=False)
        left = {node.name for node in graph.nodes}
        gone = {*folded, *bypassed, *left}
        dead = [name for name, op in before.items() if name not in gone and op != "Constant"]
        return PassResult(
            changed=len(left) < len(before) or bool(listed),
            decisions=[
                *(Decision(name, "folded", f"{before[name]} of constants") for name in folded),
                *(Decision(name, "removed", f"{before[name]} does nothing") for name in bypassed),
                *(Decision(name, "removed", f"no output needs this {before[name]}") for name in dead),
            ],
            metrics={"constants": lowered, "folded": len(folded), "removed": len(bypassed) + len(dead)},
            notes=[UNLISTED.format(count=len(listed), names=_few(listed))] if listed else [],
        )


def _unlist(graph: gs.Graph) -> list[str]:
    """Take the stored values out of the inputs, and return their names."""
    listed = [tensor.name for tensor in graph.inputs if isinstance(tensor, gs.Constant)]
    graph.inputs = [tensor for tensor in graph.inputs if not isinstance(tensor, gs.Constant)]
    return listed


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:NAMED], *(["..."] if len(names) > NAMED else [])])


def fold_all(graph: gs.Graph) -> list[str]:
    """Fold until nothing is left to fold: a Pad with folded pads has a shape, which makes the next Shape known."""
    names: list[str] = []
    while found := fold(graph, symbolic_shapes(graph)):
        names += found
    return names


def does_nothing(node: gs.Node) -> bool:
    """Whether the first output of `node` equals its first input outside of training, and nobody reads another output.

    Of a Dropout whose input `training_mode` is computed nobody knows.
    """
    if node.domain or not node.outputs or any(tensor.outputs for tensor in node.outputs[1:]):
        return False
    if node.op != "Dropout":
        return node.op == "Identity"
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        return resolve(node.inputs[2]) is not None
    return True


def _bypass_all(rewriter: Rewriter) -> list[str]:
    graph = rewriter.graph
    names: list[str] = []
    for node in list(graph.nodes):
        if not does_nothing(node) or not rewriter.can_bypass(node):
            continue
        if node.op == "Dropout" and _trains(node, graph):
            continue
        names.append(node.name)
        rewriter.bypass(node)
    return names


def _trains(node: gs.Node, graph: gs.Graph) -> bool:
    """A Dropout in training mode, or one whose mask is an output of the graph."""
    masked = any(tensor is output for tensor in node.outputs[1:] for output in graph.outputs)
    return masked or node_training_mode(node, graph.opset) is not None
