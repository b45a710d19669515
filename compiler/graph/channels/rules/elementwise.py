"""Operators that work on each element: labels pass, and operands that meet are tied.

Broadcasting aligns axes at the end. Along the channel axis another operand is

1. labelled: its labels are tied to the first operand's, one to one;
2. a constant with an entry per channel: it is sliced along;
3. of size 1: it meets every channel, and nothing happens to it;
4. anything else: a tensor whose channels stay, and the labels stay with it.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..flow import Flow, Labels, title
from .table import rule

UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos"),
    *("Cosh", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf"),
    *("IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid"),
    *("Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu"),
)
BROADCAST = (
    *("Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less"),
    *("LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "PRelu", "Sub", "Sum", "Where", "Xor"),
)


@rule(*UNARY)
def unary(node: gs.Node, flow: Flow) -> None:
    """All but the first input are scalars, or give a type."""
    labels = flow.of(node.inputs[0])
    if labels is not None:
        for tensor in node.outputs:
            flow.set_labels(tensor, labels.axis, labels.ids)


@rule(*BROADCAST)
def broadcast(node: gs.Node, flow: Flow) -> None:
    labelled = [(tensor, labels) for tensor in node.inputs if (labels := flow.of(tensor)) is not None]
    shapes = [flow.shape(tensor) for tensor in node.inputs]
    if not labelled:
        return None
    if flow.graph.opset < 7 and any(shape != shapes[0] for shape in shapes):
        return flow.stop(node, f"broadcasts by the rules of opset {flow.graph.opset}")
    sizes = [shape for shape in shapes if shape is not None]
    if len(sizes) < len(shapes):
        return flow.stop(node, "has an operand of unknown shape")
    rank = max(map(len, sizes))
    axes = {rank - len(flow.shape(tensor) or ()) + labels.axis for tensor, labels in labelled}
    if len(axes) > 1:
        return flow.stop(node, "meets channels along different axes")
    return _match(node, flow, axes.pop(), [(0,) * (rank - len(shape)) + shape for shape in sizes])


def _match(node: gs.Node, flow: Flow, axis: int, sizes: list[tuple[int, ...]]) -> None:
    """`sizes`: shapes with zeros in front, as far as an operand lacks dimensions."""
    first, labels = next((t, labels) for t in node.inputs if (labels := flow.of(t)) is not None)
    for index, (tensor, shape) in enumerate(zip(node.inputs, sizes, strict=True)):
        other = flow.of(tensor)
        if other is not None:
            flow.tie(other.ids, labels.ids, f"{title(node)} ties '{tensor.name}' to '{first.name}'")
        elif shape[axis] > 1 and flow.constant(tensor) is not None:
            flow.slot(node, index, axis - shape.count(0), "parameter", labels.ids)
        elif shape[axis] > 1:
            _meet_fixed(node, flow, tensor, labels)
    flow.set_labels(node.outputs[0], axis, labels.ids)


def _meet_fixed(node: gs.Node, flow: Flow, tensor: gs.Tensor, labels: Labels) -> None:
    flow.freeze(labels.ids, f"{title(node)} meets '{tensor.name}', whose channels stay")
