"""Attributes of Conv and ConvTranspose that the parser relies on.

`kernel_shape` is written out, where shape inference knows it: with a weight that is not an initializer (one from
DequantizeLinear, or one that the network computes) onnx-tensorrt 8.5 takes the kernel from nowhere else.

Source: onnx-tensorrt 8.5-GA, convMultiInput in builtin_op_importers.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import symbolic_shapes
from ...compiler.graph.weights import resolve
from ...compiler.targets import Target
from .base import Edit, Pattern, is_tensorrt

CONVS = ("Conv", "ConvTranspose")


def _write_kernel_shapes(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    nodes = (node for part in rewriter.parts() for node in part.graph.nodes)
    open_ended = [node for node in nodes if node.op in CONVS and not node.domain and not node.attrs.get("kernel_shape")]
    computed = any(resolve(node.inputs[1]) is None for node in open_ended)
    shapes = symbolic_shapes(rewriter.graph) if computed else {}
    for node in open_ended:
        weight = resolve(node.inputs[1])
        shape = shapes.get(node.inputs[1].name, ()) if weight is None else weight.shape
        size = [dim for dim in shape[2:] if dim is not None]
        if size and len(size) == len(shape) - 2:
            node.attrs["kernel_shape"] = size
            yield node.name, "kernel_shape written out"


CONVOLUTIONS = (Pattern(is_tensorrt, _write_kernel_shapes),)
