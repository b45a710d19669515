"""At which tensors can two networks be compared, sample by sample? At their outputs, but for these:

1. an output whose shape depends on values (the boxes that NonMaxSuppression leaves): one box more, and nothing fits;
2. an output that depends on random numbers;
3. an output that is a sequence of tensors, or an optional one.

In their place stand the tensors that they are made of: going back from such an output, the first ones in floating-point
to which none of this applies, before any QuantizeLinear, Cast or Identity. They come in the order in which the nodes
read them, so that they fit those of a rewritten network by position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx
import onnx_graphsurgeon as gs

from .functions import Types, tensor_types
from .inference import inferred
from .shapes import infer_shapes
from .weightless import export_for_inference

RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
CONTAINERS = frozenset(
    {
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceInsert",
        "SequenceErase",
        "SequenceMap",
        "SplitToSequence",
        "Optional",
    }
)
SIZES = frozenset({"Shape", "Size", "SequenceLength", "RandomNormalLike", "RandomUniformLike"})
"""What these give depends on shapes only."""
FOLLOWED = frozenset({"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"})
FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE})
FIRST = (0,)
SECOND = (1,)
SHAPED_BY: dict[str, tuple[int, ...]] = {
    "NonMaxSuppression": (0, 1, 2, 3, 4),
    "NonZero": FIRST,
    "Unique": FIRST,
    "ConstantOfShape": FIRST,
    "Range": (0, 1, 2),
    **dict.fromkeys(("Compress", "TopK", "Reshape", "Expand", "Tile", "Pad", "OneHot", "Split"), SECOND),
    "SplitToSequence": SECOND,
    "Upsample": SECOND,
    "Slice": (1, 2, 3, 4),
    "Resize": (1, 2, 3),
    "If": FIRST,
    "Loop": (0, 1),
}
"""Operator -> the inputs whose values its output shapes depend on."""


def reads(node: gs.Node) -> Iterator[gs.Tensor]:
    """Every tensor that `node` reads, those that its subgraphs take from outside included."""
    for tensor in node.inputs:
        if not tensor.is_empty():
            yield tensor
    for subgraph in node.subgraphs():
        local = {t.name for t in subgraph.inputs} | {t.name for inner in subgraph.nodes for t in inner.outputs}
        for inner in subgraph.nodes:
            yield from (tensor for tensor in reads(inner) if tensor.name not in local)


def comparable_tensors(graph: gs.Graph) -> list[str]:
    """Names, see the module docstring; the outputs themselves where nothing of them can be compared."""
    marks = mark(graph)
    if not any(marks.excludes(tensor) for tensor in graph.outputs):
        return [tensor.name for tensor in graph.outputs]
    walk = _Walk(marks, tensor_types(graph), {tensor.name for tensor in graph.inputs})
    for tensor in graph.outputs:
        if marks.excludes(tensor):
            walk.back_from(tensor)
        else:
            walk.found.append(tensor.name)
    return list(dict.fromkeys(walk.found)) or [tensor.name for tensor in graph.outputs]


def container_tensors(graph: gs.Graph) -> frozenset[str]:
    """Names of sequences of tensors and of optional ones."""
    parts = (graph, *graph.subgraphs(recursive=True))
    if not any(node.op in CONTAINERS for part in parts for node in part.nodes):
        return frozenset()
    made = {t.name for node in graph.nodes if node.op in CONTAINERS for t in node.outputs}
    infos = inferred(export_for_inference(graph)).graph.value_info
    return frozenset(made | {info.name for info in infos if not info.type.HasField("tensor_type")})


@dataclass(frozen=True)
class Marks:
    """Names of tensors: `varying` depend on the values of the network's inputs; of these, `shaped` have shapes that do,
    and `drawn` (varying or not) depend on random numbers; `containers` are no tensors."""

    containers: frozenset[str]
    varying: set[str] = field(default_factory=set[str])
    shaped: set[str] = field(default_factory=set[str])
    drawn: set[str] = field(default_factory=set[str])

    def excludes(self, tensor: gs.Tensor) -> bool:
        """Whether the values of `tensor` cannot be compared."""
        return any(tensor.name in names for names in (self.shaped, self.drawn, self.containers))


def mark(graph: gs.Graph) -> Marks:
    """Walk in graph order. A shape that follows from those of the inputs, by ONNX's rules, depends on no values."""
    inputs = {tensor.name for tensor in graph.inputs if isinstance(tensor, gs.Variable)}
    marks, known = Marks(container_tensors(graph), inputs), None
    for node in graph.nodes:
        sources = [tensor.name for tensor in reads(node)]
        names = [tensor.name for tensor in node.outputs if not tensor.is_empty()]
        open_ended = any(name in marks.shaped for name in sources)
        if draws(node) or any(name in marks.drawn for name in sources):
            marks.drawn.update(names)
        if node.op in SIZES and not node.domain:
            marks.varying.update(names if open_ended else ())
            continue
        if open_ended or (not node.domain and _is_shaped_by_values(node, marks)):
            known = infer_shapes(graph) if known is None else known
            marks.shaped.update(name for name in names if name not in known)
        if any(name in marks.varying for name in sources):
            marks.varying.update(names)
    return marks


def draws(node: gs.Node) -> bool:
    """Whether the node, or one of its subgraphs, makes random numbers."""
    inner = (draws(one) for subgraph in node.subgraphs() for one in subgraph.nodes)
    return (node.op in RANDOM and not node.domain) or any(inner)


def _is_shaped_by_values(node: gs.Node, marks: Marks) -> bool:
    deciding = [node.inputs[index] for index in SHAPED_BY.get(node.op, ()) if index < len(node.inputs)]
    if node.op == "Loop" and _ends_early(node):
        deciding = list(reads(node))
    return any(tensor.name in marks.varying for tensor in deciding)


def _ends_early(loop: gs.Node) -> bool:
    """Whether the condition to go on is computed in the body."""
    body = next(iter(loop.subgraphs()))
    condition = body.outputs[0]
    while condition.inputs and condition.inputs[0].op == "Identity":
        condition = condition.inputs[0].inputs[0]
    given = len(body.inputs) > 1 and condition.name == body.inputs[1].name
    constant = isinstance(condition, gs.Constant) or any(node.op == "Constant" for node in condition.inputs)
    return not given and not constant


@dataclass
class _Walk:
    """From outputs back to what can be compared."""

    marks: Marks
    types: Types
    inputs: set[str]
    found: list[str] = field(default_factory=list[str])
    seen: set[str] = field(default_factory=set[str])

    def back_from(self, tensor: gs.Tensor) -> None:
        pending = [tensor]
        while pending:
            here = pending.pop()
            if here.name in self.seen | self.inputs or here.name not in self.marks.varying:
                continue
            self.seen.add(here.name)
            source = _before_casts(here)
            if not self.marks.excludes(here) and self._is_float(source):
                self.found.extend([] if source.name in self.inputs else [source.name])
                continue
            for node in here.inputs:
                pending.extend(reversed(list(reads(node))))

    def _is_float(self, tensor: gs.Tensor) -> bool:
        """Unknown types pass."""
        return tensor.name not in self.types or self.types[tensor.name].tensor_type.elem_type in FLOATS


def _before_casts(tensor: gs.Tensor) -> gs.Tensor:
    while tensor.inputs and tensor.inputs[0].op in FOLLOWED and not tensor.inputs[0].domain:
        node = tensor.inputs[0]
        source = node.inputs[0]
        codes = source.inputs[0].op if source.inputs else ""
        if isinstance(source, gs.Constant) or (node.op == "DequantizeLinear" and codes != "QuantizeLinear"):
            break
        tensor = source
    return tensor
