"""A program as onnxruntime-training can differentiate it.

1. Opset 13 to 21, IR up to 10; node names, and no shapes but those of the inputs: the library finds its own.
2. Every operator without a gradient, or with one that is wrong, is written in others (`RULES`).
3. A parameter that a node reads twice (w * w) is read through an Identity the second time: the library would define its
   gradient twice.
4. What the loss does not need is left out: the library would compute it all the same.

Silently wrong in 1.19.2: Conv and AveragePool with `auto_pad`, Where with broadcasting, Split with a part that
goes nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx_graphsurgeon as gs
from onnx import shape_inference

from .....compiler.errors import CompressError
from .....compiler.graph.opset import raise_opset
from .....compiler.graph.rewriter import Rewriter
from .einsum import EINSUM
from .formula import Expansion, ExpansionContext, Straight, Term
from .layout import LAYOUT
from .normalization import NORMALIZATION
from .pointwise import POINTWISE
from .reductions import REDUCTIONS
from .resize import RESIZE
from .rounding import ROUNDING, straight_model
from .windows import WINDOWS

OLDEST_OPSET, NEWEST_OPSET, NEWEST_IR = 13, 21, 10
RULES: dict[str, Expansion] = {
    **POINTWISE,
    **REDUCTIONS,
    **LAYOUT,
    **WINDOWS,
    **RESIZE,
    **NORMALIZATION,
    **ROUNDING,
    **EINSUM,
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """What to differentiate.

    Attributes:
        graph: the program in other operators.
        straight: nodes that take the place of those of the same outputs afterwards.
        read: the inputs that the loss depends on.
    """

    graph: onnx.ModelProto
    straight: onnx.ModelProto
    read: frozenset[str]


def differentiable(model: onnx.ModelProto) -> Prepared:
    """See the module docstring; `model` is as in `Program`.

    Raises:
        CompressError: its opset is too new, or an operator cannot be written otherwise.
    """
    graph, straight = _import(model), Straight()
    rewriter = Rewriter(graph)
    for node in list(graph.nodes):
        if node.op in RULES and node.domain in (None, "", "ai.onnx"):
            _expand(ExpansionContext(rewriter, node, straight))
    _read_once(rewriter)
    graph.cleanup().toposort()
    proto = gs.export_onnx(graph, do_type_check=False)
    proto.ir_version = min(proto.ir_version, NEWEST_IR)
    del proto.graph.value_info[:]
    read = frozenset(tensor.name for tensor in graph.inputs if tensor.outputs)
    return Prepared(proto, straight_model(straight, proto), read)


def _import(model: onnx.ModelProto) -> gs.Graph:
    graph = gs.import_onnx(model)
    graph.outputs = graph.outputs[:1]
    graph.cleanup().toposort()
    refusal = raise_opset(graph, OLDEST_OPSET)
    if refusal is None and graph.opset > NEWEST_OPSET:
        refusal = f"opset {graph.opset} is newer than {NEWEST_OPSET}"
    if refusal is not None:
        raise CompressError(f"onnxruntime-training cannot read the model: {refusal}", "", "engine=torch")
    known = gs.import_onnx(shape_inference.infer_shapes(gs.export_onnx(graph, do_type_check=False), data_prop=True))
    for index, node in enumerate(known.nodes):
        node.name = node.name or f"{node.op}_{index}"
    return known


def _read_once(rewriter: Rewriter) -> None:
    graph = rewriter.graph
    for source in graph.inputs:
        for node in list(source.outputs):
            slots = [index for index, tensor in enumerate(node.inputs) if tensor is source]
            for index in slots[1:]:
                copy = rewriter.variable(f"{source.name}/again")
                rewriter.insert_before(node, [rewriter.node("Identity", [source], [copy], copy.name)])
                rewriter.set_input(node, index, copy)


def _expand(ctx: ExpansionContext) -> None:
    """Put what the rule makes of the node in its place."""
    wanted, outputs = RULES[ctx.node.op](ctx), list(ctx.node.outputs)
    if wanted is None:
        return
    results = [wanted] if isinstance(wanted, Term) else list(wanted)
    ctx.rewriter.splice(ctx.node, ctx.made)
    for term, output in zip(results, outputs, strict=False):
        producer = term.tensor.inputs[0]
        producer.outputs[0] = output
