"""Normalizations: per channel with parameters of their own, or over an axis, which must not be that of the channels."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..flow import Flow
from .table import rule


@rule("BatchNormalization", "InstanceNormalization")
def per_channel(node: gs.Node, flow: Flow) -> None:
    labels = flow.of(node.inputs[0])
    if labels is None:
        return None
    parameters = [flow.constant(tensor) for tensor in node.inputs[1:]]
    if any(values is None or values.shape != labels.ids.shape for values in parameters):
        return flow.stop(node, "has parameters that are not one constant per channel")
    if labels.axis != 1:
        return flow.stop(node, f"finds channels along axis {labels.axis} of its input")
    if any(not tensor.is_empty() for tensor in node.outputs[1:]):
        return flow.stop(node, "is in training mode")
    for index in range(1, len(node.inputs)):
        flow.slot(node, index, 0, "parameter", labels.ids)
    return flow.set_labels(node.outputs[0], 1, labels.ids)


@rule("LayerNormalization")
def layer_norm(node: gs.Node, flow: Flow) -> None:
    """It mixes every axis from `axis` on."""
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    if labels is None:
        return None
    if shape is None or labels.axis >= node.attrs.get("axis", -1) % len(shape):
        return flow.stop(node, "mixes channels")
    return flow.set_labels(node.outputs[0], labels.axis, labels.ids)


@rule("Softmax", "LogSoftmax", "Hardmax", "LpNormalization")
def along_axis(node: gs.Node, flow: Flow) -> None:
    """Before opset 13 the softmaxes mix every axis from `axis` (default 1) on."""
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    if labels is None:
        return None
    old = flow.graph.opset < 13 and node.op != "LpNormalization"
    if shape is None:
        return flow.stop(node, "has an input of unknown shape")
    axis = node.attrs.get("axis", 1 if old else -1) % len(shape)
    if labels.axis == axis or (old and labels.axis > axis):
        return flow.stop(node, "mixes channels")
    return flow.set_labels(node.outputs[0], labels.axis, labels.ids)


@rule("MeanVarianceNormalization")
def mean_variance(node: gs.Node, flow: Flow) -> None:
    labels, shape = flow.of(node.inputs[0]), flow.shape(node.inputs[0])
    if labels is None:
        return None
    axes = node.attrs.get("axes", [0, 2, 3])
    if shape is None or labels.axis in [axis % len(shape) for axis in axes]:
        return flow.stop(node, "mixes channels")
    return flow.set_labels(node.outputs[0], labels.axis, labels.ids)


@rule("LRN", "GroupNormalization", "RMSNormalization")
def mixing(node: gs.Node, flow: Flow) -> None:
    flow.stop(node, "mixes channels")
