"""Constant folding with the reference implementation of ONNX, so that no engine is needed.

1. A node whose inputs are constant is computed once, and its outputs become initializers, except
   a. quantization (a Q/DQ pair carries meaning), random numbers, control flow and custom domains;
   b. where an output of the graph would lose its producer;
   c. a Cast of unsigned bytes: codes that a weight is stored as;
   d. where the file would grow: an output of more than `LIMIT` bytes that is larger than the node's inputs (Expand,
      Tile, a Cast to a wider type), or one made from a big input that other nodes read too.
   What equal nodes make of the same constants is stored once: a weight that layers share stays shared.
2. `Shape` is known as far as shape inference knows it. A vector of dimensions some of which are unknown (a dynamic
   batch) passes through the nodes that only move elements; the unknown ones carry a mark that no dimension can have,
   and what comes without the mark is constant.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .weights import constant_tensor, values_of

Dims = Mapping[str, tuple[int | None, ...]]

LIMIT = 64 * 1024
SMALL = 64
"""Values: inputs of at most so many are the same where they are equal."""
UNKNOWN = -(2**30)
MOVERS = frozenset({"Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Cast"})
KEPT = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "Dropout",
    }
)


def lower_constants(graph: gs.Graph) -> int:
    """Turn the Constant nodes of the main graph into initializers; how many there were."""
    outputs = {tensor.name for tensor in graph.outputs}
    lowered: set[int] = set()
    for node in graph.nodes:
        tensor = constant_tensor(node) if node.op == "Constant" and not node.domain else None
        if tensor is None or not node.outputs or node.outputs[0].name in outputs:
            continue
        tensor.name = node.outputs[0].name
        _replace_reads(node.outputs[0], tensor)
        node.outputs.clear()
        lowered.add(id(node))
    graph.nodes = [node for node in graph.nodes if id(node) not in lowered]
    return len(lowered)


def fold(graph: gs.Graph, shapes: Dims) -> list[str]:
    """Fold what is constant, in place, in one sweep; the names of the nodes that are gone.

    `shapes` gives tensor shapes as far as they are known (None: an unknown dimension).
    """
    known: dict[str, np.ndarray] = {}
    outputs = {tensor.name for tensor in graph.outputs}
    folded: dict[int, str] = {}
    made: dict[Hashable, list[gs.Tensor]] = {}
    for node in graph.nodes:
        values = _compute(node, graph, known, shapes)
        if values is None:
            continue
        known.update({tensor.name: value for tensor, value in zip(node.outputs, values, strict=True)})
        if any(_partial(value) for value in values) or any(tensor.name in outputs for tensor in node.outputs):
            continue
        found = list(node.outputs)
        earlier = made.setdefault(_identity(node), found)
        for tensor, same, value in zip(found, earlier, values, strict=True):
            if tensor is same:
                tensor.to_constant(value)
            else:
                _replace_reads(tensor, same)
            tensor.inputs.clear()
        node.inputs.clear()
        folded[id(node)] = node.name
    graph.nodes = [node for node in graph.nodes if id(node) not in folded]
    return list(folded.values())


def _identity(node: gs.Node) -> Hashable:
    """What nodes have in common that make the same of the same constants."""
    read = tuple(_content(tensor) for tensor in node.inputs)
    return node.op, repr(sorted(node.attrs.items())), len(node.outputs), read


def _content(tensor: gs.Tensor) -> Hashable:
    values = values_of(tensor) if isinstance(tensor, gs.Constant) else None
    if tensor.is_empty() or values is None or values.size > SMALL:
        return "" if tensor.is_empty() else id(tensor)
    return values.dtype.str, values.shape, values.tobytes()


def _replace_reads(old: gs.Tensor, new: gs.Tensor) -> None:
    for consumer in list(old.outputs):
        for index, tensor in enumerate(consumer.inputs):
            if tensor is old:
                consumer.inputs[index] = new


def _compute(node: gs.Node, graph: gs.Graph, known: Mapping[str, np.ndarray], shapes: Dims) -> list[np.ndarray] | None:
    if node.domain or node.op in KEPT or any(True for _ in node.subgraphs()):
        return None
    if any(tensor.is_empty() for tensor in node.outputs) or _unpacks(node):
        return None
    if node.op == "Shape":
        return _shape(node, shapes)
    inputs = [_known(tensor, graph, known) for tensor in node.inputs]
    if not inputs and node.op == "Constant":
        return None
    present = [value for value, tensor in zip(inputs, node.inputs, strict=True) if not tensor.is_empty()]
    if any(value is None for value in present) or not _movable(node, inputs) or _too_big(node, inputs, shapes):
        return None
    values = _evaluate(node, inputs, graph)
    return None if values is None or _grows(node, inputs, values) else values


def _unpacks(node: gs.Node) -> bool:
    return node.op == "Cast" and isinstance(node.inputs[0], gs.Constant) and node.inputs[0].dtype == np.uint8


def _known(tensor: gs.Tensor, graph: gs.Graph, known: Mapping[str, np.ndarray]) -> np.ndarray | None:
    if tensor.name in known:
        return known[tensor.name]
    if not isinstance(tensor, gs.Constant) or any(tensor is declared for declared in graph.inputs):
        return None
    return values_of(tensor)


def _partial(value: np.ndarray) -> bool:
    return value.dtype.kind == "i" and bool((value == UNKNOWN).any())


def _movable(node: gs.Node, inputs: Sequence[np.ndarray | None]) -> bool:
    """Whether every partly known input is one whose elements the node only moves."""
    marked = [index for index, value in enumerate(inputs) if value is not None and _partial(value)]
    if not marked:
        return True
    if node.op == "Cast" and node.attrs["to"] not in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        return False
    return node.op == "Concat" or (node.op in MOVERS and marked == [0])


def _shape(node: gs.Node, shapes: Dims) -> list[np.ndarray] | None:
    tensor = node.inputs[0]
    dims = tuple(tensor.shape) if isinstance(tensor, gs.Constant) else shapes.get(tensor.name)
    if dims is None:
        return None
    window = slice(node.attrs.get("start", 0), node.attrs.get("end"))
    return [np.array([UNKNOWN if dim is None else dim for dim in dims], np.int64)[window]]


def _too_big(node: gs.Node, inputs: Sequence[np.ndarray | None], shapes: Dims) -> bool:
    """Whether the result would be far larger than the inputs, or its size is unknown while an input is big."""
    read = sum(value.size for value in inputs if value is not None)
    dims = shapes.get(node.outputs[0].name)
    if dims is None or None in dims:
        return read > LIMIT or node.op in (
            "ConstantOfShape",
            "Expand",
            "Tile",
            "Range",
            "Pad",
            "Resize",
            "OneHot",
            "EyeLike",
        )
    return prod(dim for dim in dims if dim is not None) > max(LIMIT, read)


def _grows(node: gs.Node, inputs: Sequence[np.ndarray | None], values: Sequence[np.ndarray]) -> bool:
    written = sum(value.nbytes for value in values)
    if written <= LIMIT:
        return False
    shared = any(
        v is not None and v.nbytes > LIMIT and len(t.outputs) > 1 for v, t in zip(inputs, node.inputs, strict=True)
    )
    return shared or written > sum(value.nbytes for value in inputs if value is not None)


def _evaluate(node: gs.Node, inputs: Sequence[np.ndarray | None], graph: gs.Graph) -> list[np.ndarray] | None:
    """The outputs of `node`; None where the reference implementation cannot compute them."""
    from onnx.reference import ReferenceEvaluator

    sources = [gs.Variable("" if value is None else f"x{index}") for index, value in enumerate(inputs)]
    results = [gs.Variable(f"y{index}") for index in range(len(node.outputs))]
    feeds = {tensor.name: value for tensor, value in zip(sources, inputs, strict=True) if value is not None}
    alone = node.copy(inputs=sources, outputs=results)
    piece = gs.Graph([alone], [tensor for tensor in sources if tensor.name], results, opset=graph.opset)
    try:
        values: Any = ReferenceEvaluator(gs.export_onnx(piece, do_type_check=False)).run(None, feeds)
    except Exception:
        return None
    if any(value is None or isinstance(value, list | dict) for value in values):
        return None
    arrays = [np.asarray(value) for value in values]
    return arrays if all(array.dtype.kind in "fiub" for array in arrays) else None
