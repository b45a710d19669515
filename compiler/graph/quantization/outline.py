"""A network with its Q/DQ pairs and none of their numbers: all that an estimate of its time asks of INT8.

Nothing is calibrated and nothing rounded: every scale is 1, and weights stay as they are stored.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs

from ..copies import copy_graph
from ..rewriter import Rewriter
from ..shapes import Shapes
from ..weights import stored_tensors
from .qdq import QuantizedTensor, place
from .quantizers import SYMMETRIC, Grid, connect, first, pair_inputs, quantize_activation

PAIR = ("QuantizeLinear", "DequantizeLinear")


def outline(graph: gs.Graph, names: Collection[str], closed: bool) -> gs.Graph:
    """A copy of `graph` with pairs where its layers of these names would get them; `closed`: see `qdq`."""
    copy = copy_graph(graph)
    placement, rewriter = place(copy, lambda node: node.name in names, closed), Rewriter(copy, {})
    for entry in placement.weights:
        _dequantize(rewriter, entry)
    for group in placement.activations:
        for entry in group:
            quantize_activation(rewriter, entry, Grid(1.0))
    return copy


def shapes_of_pairs(graph: gs.Graph, shapes: Shapes) -> Shapes:
    """`shapes`, and those of stored weights, which passes may have made since, and of what comes out of pairs."""
    stored = {name: tuple(each.shape) for name, each in stored_tensors(graph).items()}
    found = {**shapes, **stored}
    for node in graph.nodes:
        if node.op not in PAIR:
            continue
        known = found.get(node.inputs[0].name)
        if known is not None:
            found.setdefault(node.outputs[0].name, known)
    return found


def _dequantize(rewriter: Rewriter, entry: QuantizedTensor) -> None:
    """Let the slots of a weight read it behind DequantizeLinear."""
    name = f"{entry.slots[0][0].name}.weight"
    result = rewriter.variable(f"{name}.dq", np.float32)
    inputs = [entry.tensor, *pair_inputs(rewriter, name, np.float32(1), SYMMETRIC)]
    node = rewriter.node("DequantizeLinear", inputs, [result], f"{name}.DequantizeLinear")
    rewriter.insert_before(first(rewriter.graph, entry), [node])
    connect(rewriter, entry, result)
