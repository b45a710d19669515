"""What each kernel of a graph computes and moves, whatever device runs it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from ...graph.shapes import Shapes
from .fusion import FusionGroup, fuse
from .kernel_time import MatrixProduct
from .operators import LAYERS
from .precision import WIDTH, Precision, PrecisionRequest, Precisions


@dataclass(frozen=True)
class KernelWork:
    """One kernel.

    Attributes:
        name: of the node that decides the cost.
        nodes: names of all its nodes, in graph order.
        products: of its layers; none for a kernel that only moves or combines elements.
        bytes: activations read and written, and weights.
    """

    name: str
    nodes: tuple[str, ...]
    precision: Precision
    products: tuple[MatrixProduct, ...]
    bytes: int


def kernel_work(graph: gs.Graph, shapes: Shapes, request: PrecisionRequest) -> list[KernelWork]:
    """The kernels of the main graph; a tensor of unknown shape counts as one element."""
    precisions = Precisions(graph, request)
    return [_work(group, shapes, precisions) for group in fuse(graph, shapes, precisions)]


def _work(group: FusionGroup, shapes: Shapes, precisions: Precisions) -> KernelWork:
    core = group.core
    return KernelWork(
        name=core.name,
        nodes=tuple(node.name for node in group.nodes),
        precision=precisions.of(core),
        products=tuple(product_of(node, shapes) for node in group.layers),
        bytes=_bytes(group, shapes, precisions),
    )


def product_of(node: gs.Node, shapes: Shapes) -> MatrixProduct:
    """The multiplication that a Conv, ConvTranspose, Gemm or MatMul is."""
    result, weight = (shapes.get(tensor.name, ()) for tensor in (node.outputs[0], node.inputs[1]))
    if node.op == "Conv" and result and weight:
        group = int(node.attrs.get("group", 1))
        return MatrixProduct(result[0] * prod(result[2:]), result[1], weight[1], prod(weight[2:]), group)
    data = shapes.get(node.inputs[0].name, ())
    if node.op == "ConvTranspose" and data and weight:
        group = int(node.attrs.get("group", 1))
        columns = group * weight[1] * prod(weight[2:])
        return MatrixProduct(data[0] * prod(data[2:]), columns, weight[0] // group, 1, group)
    if not result or not data:
        return MatrixProduct(1, 1, 1)
    depth = data[0] if node.op == "Gemm" and node.attrs.get("transA", 0) else data[-1]
    return MatrixProduct(prod(result[:-1]), result[-1], depth)


def _bytes(group: FusionGroup, shapes: Shapes, precisions: Precisions) -> int:
    if group.moved:
        return 2 * sum(_size(tensor, shapes) * precisions.width(tensor) for tensor in group.moved)
    inner = {tensor.name for node in group.nodes for tensor in node.outputs}
    weights = {node.inputs[1].name: WIDTH[precisions.of(node)] for node in group.nodes if node.op in LAYERS}
    read = {tensor.name: tensor for node in group.nodes for tensor in node.inputs if not tensor.is_empty()}
    outside = [tensor for name, tensor in read.items() if name not in inner]
    tensors = [*outside, *group.nodes[-1].outputs]
    widths = [weights.get(tensor.name) or precisions.width(tensor) for tensor in tensors]
    return sum(_size(tensor, shapes) * width for tensor, width in zip(tensors, widths, strict=True))


def _size(tensor: gs.Tensor, shapes: Shapes) -> int:
    return prod(shapes.get(tensor.name, (1,)))
