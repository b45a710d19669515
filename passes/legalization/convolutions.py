"""Attributes of Conv and ConvTranspose that the parser relies on.

`kernel_shape` is written out: with a weight that is not an initializer (one from DequantizeLinear) onnx-tensorrt 8.5
takes the kernel from nowhere else.

Source: onnx-tensorrt 8.5-GA, convMultiInput in builtin_op_importers.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.weights import resolve
from ...compiler.targets import Target
from .base import Edit, Pattern, is_tensorrt

CONVS = ("Conv", "ConvTranspose")


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


CONVOLUTIONS = (Pattern(is_tensorrt, _write_kernel_shapes),)
