"""Rules about QuantizeLinear and DequantizeLinear.

TensorRT is symmetric: INT8 with zero points of 0. Weights reach TensorRT 8 as float initializer -> Q -> DQ, with one
scale per tensor or per output channel; activations have one scale per tensor.

Sources: onnx-tensorrt 8.5-GA QuantDequantLinearHelper (l.1184-1300); TensorRT developer guide ch. 7; the issues named
at each rule.
"""

from __future__ import annotations

import numpy as np
import onnx

from .node import Node
from .rule import TENSORRT, TENSORRT_8, Problem, Problems, cache_only, every, node_rule

PAIR = "QuantizeLinear DequantizeLinear"
HELPER = "onnx-tensorrt 8.5-GA, QuantDequantLinearHelper"
GUIDE = "TensorRT developer guide ch. 7, explicit quantization"
SMALLEST = float(np.finfo(np.float32).tiny)
MOVES = (*PAIR.split(), "Transpose", "Reshape", "Identity", "Cast", "Squeeze", "Unsqueeze", "Flatten")
INT8, UINT8, INT32 = onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32
SCALE_TYPES = frozenset((onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE))


def is_weight(node: Node, index: int = 0) -> bool:
    """The input comes from a constant, through Q, DQ and moves at most."""
    seen: set[tuple[int, int]] = set()
    while (id(node), index) not in seen:
        seen.add((id(node), index))
        if node.constant(index) is not None:
            return True
        producer = node.producer(index)
        if producer is None or producer.op not in MOVES:
            return False
        node, index = producer, 0
    return False


@node_rule("qdq-refused", PAIR, targets=cache_only, source="TensorRT developer guide ch. 12: DLA and Q/DQ")
def qdq_refused(node: Node) -> Problems:
    """The DLA takes no explicit quantization: INT8 comes from a calibration cache."""
    yield Problem("the DLA takes no Q/DQ", "compress for this target: it writes a float model and a calibration cache")


@node_rule("qdq-inputs", PAIR, targets=TENSORRT_8, source=HELPER)
def qdq_inputs(node: Node) -> Problems:
    """Three inputs: data, scale, and a zero point that says INT8."""
    if not node.has(2):
        yield Problem("it has no zero point", "add one: INT8, all zeros, the size of the scale")


@node_rule("qdq-uint8", PAIR, targets=TENSORRT, source=f"{HELPER}; NVIDIA/TensorRT#2774")
def qdq_uint8(node: Node) -> Problems:
    """Quantized data is INT8, never UINT8."""
    if node.dtype(2) == UINT8 or (node.op == "DequantizeLinear" and node.dtype(0) == UINT8):
        yield Problem("it quantizes to UINT8", "quantize symmetrically to INT8")


@node_rule("qdq-zero-point", PAIR, targets=TENSORRT, source=f"{HELPER}; NVIDIA/TensorRT#2774")
def qdq_zero_point(node: Node) -> Problems:
    """Zero points are constants, and 0."""
    zero = node.values(2)
    if node.computed(2):
        yield Problem("its zero point is computed", "store zeros")
    if zero is not None and zero.any():
        yield Problem("its zero point is not 0", "quantize symmetrically to INT8")


@node_rule("qdq-scale", PAIR, targets=every, source=f"{HELPER}; NVIDIA/TensorRT#1826, #2267, #4446")
def qdq_scale(node: Node) -> Problems:
    """Scales are finite and positive, and not denormal: a dead channel's 0 breaks the build."""
    scale = node.values(1)
    if scale is not None and not (np.isfinite(scale) & (scale >= SMALLEST)).all():
        kinds = (("NaN or Inf", ~np.isfinite(scale)), ("negative", scale < 0), ("zero", scale == 0))
        words = [word for word, found in kinds if found.any()] or ["denormal"]
        yield Problem(f"its scale is {' and '.join(words)}", "remove dead channels, and floor every scale")


@node_rule("qdq-scale-constant", PAIR, targets=TENSORRT_8, source=HELPER)
def qdq_scale_constant(node: Node) -> Problems:
    """Scales are FP32 constants."""
    if node.computed(1):
        yield Problem("its scale is computed", "calibrate, and store the scale")
    if node.constant(1) is not None and node.dtype(1) not in SCALE_TYPES:
        yield Problem("its scale is not FP32", "store the scale as FP32")


@node_rule("qdq-size", PAIR, targets=TENSORRT, source=HELPER)
def qdq_size(node: Node) -> Problems:
    """There are as many zero points as scales, and as many scales as channels."""
    scale, zero = node.constant(1), node.constant(2)
    if scale is None:
        return
    count = int(np.prod(scale.dims, dtype=np.int64))
    if zero is not None and int(np.prod(zero.dims, dtype=np.int64)) != count:
        yield Problem(f"{list(zero.dims)} zero points for {list(scale.dims)} scales", "make both the same size")
    shape, axis = node.shape(0), axis_of(node)
    if count > 1 and shape is not None and -len(shape) <= axis < len(shape) and shape[axis] not in (None, count):
        yield Problem(f"{count} scales for {shape[axis]} channels on axis {axis}", "write the right axis")


def axis_of(node: Node) -> int:
    """The axis that TensorRT reads; without the attribute it is 0 in TensorRT 8, and 1 in ONNX."""
    return node.attribute("axis", 0 if TENSORRT_8(node.context.target) else 1)


def scale_count(node: Node) -> int:
    scale = node.constant(1)
    return 1 if scale is None else int(np.prod(scale.dims, dtype=np.int64))


@node_rule("qdq-axis", PAIR, targets=TENSORRT_8, source=HELPER)
def qdq_axis(node: Node) -> Problems:
    """A vector of scales comes with an axis: left out, TensorRT takes 0 and ONNX 1."""
    if scale_count(node) > 1 and "axis" not in node.attributes:
        yield Problem("a vector of scales without axis: ONNX means 1, TensorRT reads 0", "write the axis")


@node_rule("qdq-per-channel", PAIR, targets=TENSORRT, source=GUIDE)
def qdq_per_channel(node: Node) -> Problems:
    """Activations have one scale per tensor."""
    if scale_count(node) > 1 and not is_weight(node):
        yield Problem("an activation with a scale per channel", "give it one scale; per channel is for weights")


@node_rule(
    "int8-weights", "DequantizeLinear", targets=TENSORRT_8, source="microsoft/onnxruntime#11535; trt-engine-explorer"
)
def int8_weights(node: Node) -> Problems:
    """TensorRT 8 refuses INT8 initializers: weights are float -> Q -> DQ."""
    if node.constant(0) is not None and node.dtype(0) == INT8:
        yield Problem("its data is an INT8 initializer", "store FP32 and put QuantizeLinear before DequantizeLinear")


@node_rule("dq-type", "DequantizeLinear", targets=TENSORRT, source="onnxruntime#14229; onnx-tensorrt#850")
def dq_type(node: Node) -> Problems:
    """DequantizeLinear reads INT8 (TensorRT 10: FP8, FP4 and INT4 too); an INT32 bias is none of these."""
    found = node.engine_type(0)
    known = {"INT8", "UINT8"} if TENSORRT_8(node.context.target) else {"INT8", "UINT8", "FP8", "FP4", "INT4"}
    if found == "INT32":
        yield Problem("it dequantizes INT32 (a quantized bias)", "keep the bias in FP32, without quantizers")
    elif found is not None and found not in known:
        yield Problem(f"it dequantizes {found}", "quantize to INT8")


RULES = (
    qdq_refused,
    qdq_inputs,
    qdq_uint8,
    qdq_zero_point,
    qdq_scale,
    qdq_scale_constant,
    qdq_size,
    qdq_axis,
    qdq_per_channel,
    int8_weights,
    dq_type,
)
