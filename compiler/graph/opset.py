"""Raising a graph's opset: from 6 to 7 here, elsewhere by ONNX's own version converter.

What opset 7 changed, of all that is no mere addition:

1. Arithmetic, comparisons and logic: before, B is laid along A from the axis `axis` on where `broadcast=1` says so; now
   both are aligned at their last axes. B gets axes of size 1 at its end. (The converter refuses what does not fit as it
   stands, and takes what fits by chance.)
2. PRelu: before, a slope is one per channel; now it is aligned like an operand. (The converter leaves it as it is.)
3. BatchNormalization and Dropout lose `is_test`, Gemm loses `broadcast`, recurrent layers `output_sequence`; the scales
   of an Upsample become one attribute.

Source: ONNX Operators.md and Changelog.md, versions 1 to 7 of these operators.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_graphsurgeon as gs
from onnx import version_converter

from .inference import inferred
from .normalize import graphs
from .rewriter import Rewriter
from .weightless import export_for_inference

OLDEST = 7
"""The first opset with the broadcasting that ONNX has today, and the first that onnxruntime supports."""
MINIMUM_IR = {13: 7}
LISTED_IR = 3
"""Up to it the converter wants every initializer among the inputs, where the IR does not put them."""
BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"})
DROPPED = {
    **dict.fromkeys(("BatchNormalization", "Dropout"), "is_test"),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), "output_sequence"),
    "Gemm": "broadcast",
}


def raise_opset(graph: gs.Graph, opset: int) -> str | None:
    """Convert `graph` in place to `opset`; a line why it could not be done, or None. A newer graph is left as it is."""
    before = graph.opset
    if before >= opset:
        return None
    try:
        if before < OLDEST - 1:
            _convert(graph, OLDEST - 1)
        if graph.opset < OLDEST:
            reason = _to_seven(graph)
            if reason is not None:
                return f"opset {before} could not be raised to {opset}: {reason}"
        if graph.opset < opset:
            _convert(graph, opset)
    except Exception as error:
        return f"opset {before} could not be raised to {opset}: {str(error).strip().splitlines()[0]}"
    graph.ir_version = max(graph.ir_version or 0, MINIMUM_IR.get(opset, 7))
    return None


def _convert(graph: gs.Graph, opset: int) -> None:
    """By ONNX's converter, which raises whatever comes to its mind."""
    given = gs.export_onnx(graph, do_type_check=False)
    given.ir_version = max(given.ir_version, LISTED_IR + 1)
    proto = version_converter.convert_version(given, opset)
    onnx.checker.check_model(proto)
    converted = gs.import_onnx(proto)
    _name(converted)
    for attribute in ("nodes", "inputs", "outputs", "opset", "import_domains"):
        setattr(graph, attribute, getattr(converted, attribute))


def _name(graph: gs.Graph) -> None:
    """Name the nodes that the converter added."""
    names = {node.name for node in graph.nodes}
    for index, node in enumerate(graph.nodes):
        if not node.name:
            node.name = f"{node.op}_{index}"
            while node.name in names:
                node.name += "_"
            names.add(node.name)


def _to_seven(graph: gs.Graph) -> str | None:
    """Write the nodes of `graph` as opset 7 has them, in place; the reason why one cannot be."""
    rewriter, ranks = Rewriter(graph), _ranks(graph)
    for part in rewriter.parts():
        for node in list(part.graph.nodes):
            reason = None if node.domain else _write(node, part, ranks)
            if reason is not None:
                return f"node '{node.name}': {reason}"
    for part in rewriter.parts():
        part.graph.opset = OLDEST
        others = [entry for entry in part.graph.import_domains or () if entry.domain]
        part.graph.import_domains = [onnx.helper.make_opsetid("", OLDEST), *others]
    return None


def _write(node: gs.Node, rewriter: Rewriter, ranks: Mapping[str, int]) -> str | None:
    node.attrs.pop(DROPPED.get(node.op, ""), None)
    if node.op == "Upsample":
        height, width = (float(node.attrs.pop(f"{axis}_scale")) for axis in ("height", "width"))
        node.attrs["scales"] = [1.0, 1.0, height, width]
    if node.op == "PRelu":
        return _align(node, 1, rewriter, ranks)
    if node.op not in BINARY:
        return None
    axis, broadcast = node.attrs.pop("axis", None), node.attrs.pop("broadcast", 0)
    return None if axis is None or not broadcast else _align(node, int(axis), rewriter, ranks)


def _align(node: gs.Node, axis: int, rewriter: Rewriter, ranks: Mapping[str, int]) -> str | None:
    """Give the second operand, which begins at `axis` of the first, the axes that it lacks at its end."""
    first, second = (_rank(tensor, ranks) for tensor in node.inputs[:2])
    operand = node.inputs[1]
    if isinstance(operand, gs.Constant) and operand.values.size == 1:
        if operand.values.ndim > 1:
            rewriter.set_input(node, 1, rewriter.constant(operand.name, operand.values.reshape(1)))
        return None
    if first is None or second is None:
        return f"the rank of an operand of {node.op} is not known"
    missing = first - second - (axis if axis >= 0 else axis + first)
    if missing < 0:
        return f"axis={axis} does not fit operands of rank {first} and {second}"
    if missing == 0:
        return None
    if isinstance(operand, gs.Constant):
        aligned = rewriter.constant(operand.name, operand.values.reshape(*operand.shape, *[1] * missing))
    else:
        aligned = rewriter.variable(f"{operand.name}.aligned", operand.dtype)
        axes = {"axes": list(range(second, second + missing))}
        name = f"{node.name}.Unsqueeze"
        rewriter.insert_before(node, [rewriter.node("Unsqueeze", [operand], [aligned], name, axes, node.name)])
    rewriter.set_input(node, 1, aligned)
    return None


def _rank(tensor: gs.Tensor, ranks: Mapping[str, int]) -> int | None:
    return len(tensor.shape) if isinstance(tensor, gs.Constant) else ranks.get(tensor.name)


def _ranks(graph: gs.Graph) -> dict[str, int]:
    """Tensor name -> rank, as far as inference knows it; of old arithmetic it knows no rule, but A has the result's."""
    proto = export_for_inference(graph)
    for node in (node for part in graphs(proto.graph) for node in part.node):
        if node.op_type in BINARY | {"PRelu"} and not node.domain:
            plain = onnx.helper.make_node("Identity", node.input[:1], node.output, node.name)
            node.CopyFrom(plain)
    found = (info for part in graphs(inferred(proto).graph) for info in (*part.value_info, *part.input, *part.output))
    tensors = ((info.name, info.type.tensor_type) for info in found)
    return {name: len(kind.shape.dim) for name, kind in tensors if kind.HasField("shape")}
