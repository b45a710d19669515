"""Attributes of Conv and ConvTranspose that the parser relies on.

1. `kernel_shape` is written out: with a weight that is not an initializer (one from DequantizeLinear) onnx-tensorrt 8.5
   takes the kernel from nowhere else.
2. `pads` goes where `auto_pad` is SAME_UPPER or SAME_LOWER, which ONNX lets win and onnx-tensorrt asserts against.

Source: onnx-tensorrt 8.5-GA, convMultiInput in builtin_op_importers.cpp and getKernelParams in onnx2trt_utils.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.weights import resolve
from ...compiler.targets import Target
from .base import Edit, Pattern, is_tensorrt

CONVS = ("Conv", "ConvTranspose")
PADDED = (*CONVS, "MaxPool", "AveragePool", "LpPool")


def _write_kernel_shapes(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for part in rewriter.parts():
        for node in part.graph.nodes:
            if node.op not in CONVS or node.domain or node.attrs.get("kernel_shape"):
                continue
            weight = resolve(node.inputs[1])
            shape = node.inputs[1].shape if weight is None else weight.shape
            if shape is not None and all(isinstance(size, int) for size in shape[2:]):
                node.attrs["kernel_shape"] = [int(size) for size in shape[2:] if size is not None]
                yield node.name, "kernel_shape written out"


def _drop_idle_pads(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for part in rewriter.parts():
        for node in part.graph.nodes:
            same = str(node.attrs.get("auto_pad", "")).startswith("SAME")
            if node.op in PADDED and not node.domain and same and node.attrs.pop("pads", None) is not None:
                yield node.name, "pads removed, which auto_pad overrides"


CONVOLUTIONS = (Pattern(is_tensorrt, _write_kernel_shapes), Pattern(is_tensorrt, _drop_idle_pads))
