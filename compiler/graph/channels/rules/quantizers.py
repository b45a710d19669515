"""QuantizeLinear and DequantizeLinear on activations: one scale for the tensor, or one per channel."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..flow import Flow, given
from .table import rule


@rule("QuantizeLinear", "DequantizeLinear")
def quantizer(node: gs.Node, flow: Flow) -> None:
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    if labels is None:
        return None
    parameters = {i: flow.constant(node.inputs[i]) for i in (1, 2) if given(node, i)}
    if shape is None or any(values is None or values.ndim > 1 for values in parameters.values()):
        return flow.stop(node, "has a scale that is computed or runs over blocks")
    along = labels.axis == node.attrs.get("axis", 1) % len(shape)
    for index, values in parameters.items():
        if along and values is not None and values.size > 1:
            flow.slot(node, index, 0, "parameter", labels.ids)
    return flow.set_labels(node.outputs[0], labels.axis, labels.ids)
