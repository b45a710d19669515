"""A network with its Q/DQ pairs and none of their numbers: all that an estimate of its time asks of INT8.

Nothing is calibrated and nothing rounded: activations have one grid, weights the scale 1, and stay as they are stored
until an engine is to run them (`write_codes`).

onnxruntime takes a ReLU or a Clip into the kernel of a Conv where the grid behind it holds nothing that they would cut
off: an asymmetric grid reaches from 0 to less than 6.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs

from ..copies import copy_graph
from ..rewriter import Rewriter
from ..shapes import Shapes
from ..weights import stored_tensors, values_of
from .qdq import QuantizedTensor, place
from .quantizers import SYMMETRIC, Grid, connect, first, pair_inputs, quantize_activation

PAIR = ("QuantizeLinear", "DequantizeLinear")
SYMMETRIC_GRID, ASYMMETRIC_GRID = Grid(1.0), Grid(2.0**-6, np.uint8(0))


def outline(graph: gs.Graph, names: Collection[str], closed: bool, asymmetric: bool = False) -> gs.Graph:
    """A copy of `graph` with pairs where its layers of these names would get them; `closed`: see `qdq`."""
    copy, grid = copy_graph(graph), ASYMMETRIC_GRID if asymmetric else SYMMETRIC_GRID
    placement, rewriter = place(copy, lambda node: node.name in names, closed), Rewriter(copy, {})
    for entry in placement.weights:
        _dequantize(rewriter, entry)
    for group in placement.activations:
        for entry in group:
            quantize_activation(rewriter, entry, grid)
    return copy


def write_codes(outlined: gs.Graph) -> None:
    """Replace the weights of an outline by codes, so that an engine runs it; what it computes means nothing."""
    for node in outlined.nodes:
        weight = node.inputs[0] if node.op == "DequantizeLinear" else None
        values = values_of(weight) if isinstance(weight, gs.Constant) else None
        if weight is not None and values is not None and values.dtype.kind == "f":
            step = np.abs(values).max(initial=1e-30) / 127
            node.inputs[0] = gs.Constant(f"{weight.name}.codes", np.rint(values / step).astype(np.int8))


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
