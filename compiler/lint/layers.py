"""Rules about Conv, ConvTranspose and Gemm.

Where no other source is given: onnx-tensorrt 8.5-GA builtin_op_importers.cpp and onnx2trt_utils.cpp. What holds for
TensorRT 10 as well was seen with TensorRT for RTX 1.7, whose parser is of that line.
"""

from __future__ import annotations

from .node import Node
from .rule import TENSORRT, TENSORRT_8, Problem, Problems, every, node_rule, tensorrt

CONVS = "Conv ConvTranspose"
POOLS = "AveragePool MaxPool LpPool"


@node_rule("conv-kernel-shape", CONVS, targets=tensorrt(before=(10, 4)), source="convMultiInput; Changelog 10.4")
def conv_kernel_shape(node: Node) -> Problems:
    """A Conv whose weight is no initializer (a DequantizeLinear) is given its size by the attribute only."""
    if node.computed(1) and "kernel_shape" not in node.attributes:
        size = (node.shape(1) or ())[2:]
        known = bool(size) and all(isinstance(dim, int) for dim in size)
        fix = f"write kernel_shape={list(size)}" if known else "fix the sizes of the inputs, or write kernel_shape"
        yield Problem("the weight is computed and there is no kernel_shape", fix)


@node_rule("conv-rank", CONVS, targets=TENSORRT, source="importers of Conv and ConvTranspose")
def conv_rank(node: Node) -> Problems:
    """Convolutions are 1-D, 2-D or 3-D."""
    rank = node.rank(0)
    if rank is not None and rank not in (3, 4, 5):
        yield Problem(f"the input has {rank} dimensions, TensorRT takes 3, 4 or 5", "reshape it")


@node_rule("conv-bias", CONVS, targets=TENSORRT, source="importers of Conv and ConvTranspose; NVIDIA/TensorRT#2163")
def conv_bias(node: Node) -> Problems:
    """The bias must be an initializer of one dimension, with a number for every output channel."""
    if node.computed(2) and TENSORRT_8(node.context.target):
        yield Problem("the bias is computed", "make it a float initializer, without QuantizeLinear")
        return
    bias, weight = node.shape(2), node.shape(1)
    if bias is None or weight is None or len(weight) < 2:
        return
    channels = weight[0] if node.op == "Conv" else _times(weight[1], node.attribute("group", 1))
    if channels is not None and tuple(bias) != (channels,):
        yield Problem(f"the bias has the shape {list(bias)}, expected [{channels}]", "reshape it")


def _times(size: int | str | None, group: int) -> int | None:
    return size * group if isinstance(size, int) else None


@node_rule("conv-channels", "Conv", targets=TENSORRT, source="importer of Conv")
def conv_channels(node: Node) -> Problems:
    """group * W.shape[1] must be the number of input channels."""
    data, weight, group = node.shape(0), node.shape(1), node.attribute("group", 1)
    if data is None or weight is None or len(data) < 2 or len(weight) < 2:
        return
    have, want = data[1], _times(weight[1], group)
    if isinstance(have, int) and want is not None and have != want:
        yield Problem(f"the input has {have} channels, the weight {want} ({group} groups)", "export it again")


@node_rule("auto-pad", f"{CONVS} {POOLS}", targets=every, source="onnx2trt_utils.cpp; onnxruntime, conv_attributes.h")
def auto_pad(node: Node) -> Problems:
    """`pads` and auto_pad=SAME_* exclude each other; for the Convs of onnxruntime auto_pad=VALID does, too."""
    in_tensorrt, mode = TENSORRT(node.context.target), str(node.attribute("auto_pad", "NOTSET"))
    refused = mode.startswith("SAME") if in_tensorrt else node.op in CONVS.split() and mode not in ("NOTSET", "")
    if refused and "pads" in node.attributes:
        yield Problem(f"it has both pads and auto_pad={node.attribute('auto_pad')}", "drop one of them")


@node_rule("deconv-pads", "ConvTranspose", targets=TENSORRT, source="importer of ConvTranspose")
def deconv_pads(node: Node) -> Problems:
    """Padding may not be negative; TensorRT 8 takes that behind the data."""
    pads = node.attribute("pads", [])
    checked = pads[: len(pads) // 2] if TENSORRT_8(node.context.target) else pads
    if any(pad < 0 for pad in checked):
        yield Problem(f"negative numbers in pads={pads}", "pad or slice in a node of its own")


@node_rule("gemm-rank", "Gemm", targets=TENSORRT, source="importer of Gemm")
def gemm_rank(node: Node) -> Problems:
    """Gemm multiplies matrices: A and B have two dimensions."""
    for index in (0, 1):
        rank = node.rank(index)
        if rank not in (None, 2):
            yield Problem(
                f"'{node.proto.input[index]}' has {rank} dimensions, expected 2", "use MatMul, or Flatten first"
            )


RULES = (
    conv_kernel_shape,
    conv_rank,
    conv_bias,
    conv_channels,
    auto_pad,
    deconv_pads,
    gemm_rank,
)
