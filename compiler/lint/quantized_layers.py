"""Rules about the layers that quantizers stand around: Conv, ConvTranspose, Gemm, MatMul, integer operators.

Sources: TensorRT developer guide ch. 7, "Working with INT8"; the issues named at each rule.
"""

from __future__ import annotations

from .node import Node
from .operators import INTEGER
from .quantization import GUIDE, axis_of, scale_count
from .rule import TENSORRT, TENSORRT_8, Problem, Problems, node_rule


def quantizer(node: Node, index: int) -> Node | None:
    """The DequantizeLinear that feeds an input."""
    producer = node.producer(index)
    return producer if producer is not None and producer.op == "DequantizeLinear" else None


@node_rule("integer-operator", INTEGER, targets=TENSORRT, source="NVIDIA/TensorRT#1009; docs/operators.md")
def integer_operator(node: Node) -> Problems:
    """INT8 is written as Q/DQ around float operators, never as QLinearConv, ConvInteger and the like."""
    yield Problem(f"TensorRT has no {node.op}", "quantize in the Q/DQ format (onnxruntime: QuantFormat.QDQ)")


@node_rule("weight-axis", "Conv Gemm MatMul", targets=TENSORRT_8, source=GUIDE)
def weight_axis(node: Node) -> Problems:
    """The scales of a weight run along its output channels."""
    pair = quantizer(node, 1)
    if pair is None or scale_count(pair) == 1:
        return
    wanted = 0 if node.op == "Conv" or node.attribute("transB", 0) else 1
    axis = axis_of(pair)
    if axis % (node.rank(1) or 2) != wanted:
        yield Problem(f"the scales of its weight run along axis {axis}, not {wanted}", f"quantize along axis {wanted}")


@node_rule("deconv-axis", "ConvTranspose", targets=TENSORRT_8, source="NVIDIA/TensorRT#2380, #1694, #1699")
def deconv_axis(node: Node) -> Problems:
    """The scales of a ConvTranspose weight run along its input channels, axis 0."""
    pair = quantizer(node, 1)
    if pair is not None and scale_count(pair) > 1 and axis_of(pair) != 0:
        yield Problem(
            f"the scales of its weight run along axis {axis_of(pair)}", "quantize along axis 0, or per tensor"
        )


@node_rule("deconv-groups", "ConvTranspose", targets=TENSORRT_8, source="NVIDIA/TensorRT#1934")
def deconv_groups(node: Node) -> Problems:
    """A grouped ConvTranspose has no INT8 kernel."""
    if quantizer(node, 1) is not None and node.attribute("group", 1) > 1:
        yield Problem(f"{node.attribute('group')} groups and a quantized weight", "leave it in float")


@node_rule("conv-groups", "Conv", targets=TENSORRT, source="NvInfer.h, IConvolutionLayer::setNbGroups")
def conv_groups(node: Node) -> Problems:
    """The channels of a group of an INT8 Conv are a multiple of 4; depthwise Convs have kernels of their own."""
    shape, group, multiple = node.shape(1), node.attribute("group", 1), node.context.target.group_multiple
    if quantizer(node, 1) is None or group == 1 or shape is None:
        return
    outputs, inputs = shape[0], shape[1]
    if not isinstance(outputs, int) or not isinstance(inputs, int) or inputs == 1:
        return
    if inputs % multiple or (outputs // group) % multiple:
        text = f"{inputs} -> {outputs // group} channels in a group, INT8 needs multiples of {multiple}"
        yield Problem(text, "leave it in float")


@node_rule("half-quantized", "Conv ConvTranspose Gemm MatMul", targets=TENSORRT, severity="warning", source=GUIDE)
def half_quantized(node: Node) -> Problems:
    """A layer runs in INT8 only with quantizers on both its data and its weight."""
    data, weight = quantizer(node, 0) is not None, quantizer(node, 1) is not None
    if data != weight:
        which, missing = ("data", "weight") if data else ("weight", "data")
        yield Problem(f"its {which} is quantized, its {missing} is not: it runs in float", "quantize both, or neither")


RULES = (
    integer_operator,
    weight_axis,
    deconv_axis,
    deconv_groups,
    conv_groups,
    half_quantized,
)
