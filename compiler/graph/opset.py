"""Raising a graph's opset by ONNX's own version converter."""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs
from onnx import version_converter

MINIMUM_IR = {13: 7}
LISTED_IR = 3
"""Up to it the converter wants every initializer among the inputs, where the IR does not put them."""


def raise_opset(graph: gs.Graph, opset: int) -> str | None:
    """Convert `graph` in place to `opset`; a line why it could not be done, or None. A newer graph is left as it is."""
    if graph.opset >= opset:
        return None
    try:
        given = gs.export_onnx(graph, do_type_check=False)
        given.ir_version = max(given.ir_version, LISTED_IR + 1)
        proto = version_converter.convert_version(given, opset)
        onnx.checker.check_model(proto)
        converted = gs.import_onnx(proto)
    except Exception as error:
        return f"opset {graph.opset} could not be raised to {opset}: {str(error).strip().splitlines()[0]}"
    _name(converted)
    for attribute in ("nodes", "inputs", "outputs", "opset", "import_domains"):
        setattr(graph, attribute, getattr(converted, attribute))
    graph.ir_version = max(graph.ir_version or 0, MINIMUM_IR.get(opset, 7))
    return None


def _name(graph: gs.Graph) -> None:
    """Name the nodes that the converter added."""
    names = {node.name for node in graph.nodes}
    for index, node in enumerate(graph.nodes):
        if not node.name:
            node.name = f"{node.op}_{index}"
            while node.name in names:
                node.name += "_"
            names.add(node.name)
