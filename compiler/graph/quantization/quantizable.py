"""Which layers can carry an INT8 weight, and along which axis its scales run.

The output channel is the axis of `CHANNEL_AXIS`: one scale per output channel factors out of the layer's sum.

    Conv            axis 0
    Gemm            axis 0 with transB = 1, else axis 1
    MatMul          axis 1 of a constant (K, N) second input
    ConvTranspose   axis 1 in ONNX, but TensorRT 8 takes one scale per *input* channel and refuses groups
                    (NVIDIA/TensorRT#2380, #1694, #1934), and onnxruntime has no INT8 kernel: it stays in float

QuantizeLinear takes float32 only before opset 19: a network in half precision is put into float32 before
(`graph.half_precision`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from ..weights import is_quantized, resolve, sources

QUANTIZED = "its weight is quantized already"
CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
ROWS_FIRST = {"Gemm": "transB"}


def is_layer(node: gs.Node) -> bool:
    """The node multiplies by a weight: Conv, ConvTranspose, Gemm, or MatMul."""
    return node.op in CHANNEL_AXIS and node.domain in (None, "", "ai.onnx")


def channel_axis(node: gs.Node) -> int:
    """The axis of the node's weight that counts output channels."""
    return 0 if node.attrs.get(ROWS_FIRST.get(node.op, ""), 0) else CHANNEL_AXIS[node.op]


def subgraph_layers(graph: gs.Graph) -> Iterator[gs.Node]:
    """The layers in the bodies of If, Loop and Scan."""
    for body in graph.subgraphs(recursive=True):
        yield from (node for node in body.nodes if is_layer(node))


def unsupported_reason(node: gs.Node, group_multiple: int = 1) -> str | None:
    """Why the layer cannot be quantized, or None. `group_multiple`: what the channels of one group must divide into."""
    if node.op == "ConvTranspose":
        return (
            "ConvTranspose stays in float: TensorRT 8 wants its scales per input channel and refuses groups, and "
            "onnxruntime has no INT8 kernel for it"
        )
    weight = node.inputs[1]
    if is_quantized(weight):
        return QUANTIZED
    values = resolve(weight)
    if values is None and all(isinstance(source, gs.Constant) for source in sources(weight)):
        return "its weight is of a type or form that cannot be read"
    if values is None:
        return "its weight is not constant"
    return _weight_refusal(node, values, group_multiple)


def _weight_refusal(node: gs.Node, values: np.ndarray, group_multiple: int) -> str | None:
    if values.dtype.kind != "f" or values.dtype.itemsize > 4:
        return f"its weight is {values.dtype}: scales are float32, export the network in it"
    if not np.isfinite(values).all():
        return "its weight holds NaN or Inf"
    if node.op != "Conv" and values.ndim != 2:
        return f"its weight has {values.ndim} dimensions instead of 2"
    if node.op == "Conv":
        return _group_refusal(int(node.attrs.get("group", 1)), values.shape, group_multiple)
    return None


def _group_refusal(group: int, shape: tuple[int, ...], multiple: int) -> str | None:
    """Depthwise Convs have kernels of their own and pass."""
    inputs, outputs = shape[1], shape[0] // max(1, group)
    if group == 1 or inputs == 1 or (inputs % multiple == 0 and outputs % multiple == 0):
        return None
    return (
        f"grouped with {inputs} -> {outputs} channels a group: the target's INT8 kernels need multiples of {multiple}"
    )
