"""What each kernel of a graph computes and moves, whatever device runs it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from ...graph.shapes import Shapes
from ..unknown import UNTIMED, size, unknown_shape
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
    """The kernels of the main graph; `UnknownShape` where the shape of a tensor that they move is not known."""
    precisions = Precisions(graph, request)
    groups = fuse(graph, shapes, precisions)
    for tensor in (tensor for group in groups for tensor in _needed(group)):
        if size(tensor, shapes) is None:
            raise unknown_shape(graph, shapes, tensor, UNTIMED)
    return [_work(group, shapes, precisions) for group in groups]


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
    """The multiplication that a Conv, ConvTranspose, Gemm or MatMul is; `KeyError` where a shape is not known."""
    result, weight = (shapes[tensor.name] for tensor in (node.outputs[0], node.inputs[1]))
    if node.op == "Conv":
        group = int(node.attrs.get("group", 1))
        return MatrixProduct(result[0] * prod(result[2:]), result[1], weight[1], prod(weight[2:]), group)
    data = shapes[node.inputs[0].name]
    if node.op == "ConvTranspose":
        group = int(node.attrs.get("group", 1))
        columns = group * weight[1] * prod(weight[2:])
        return MatrixProduct(data[0] * prod(data[2:]), columns, weight[0] // group, 1, group)
    depth = data[0] if node.op == "Gemm" and node.attrs.get("transA", 0) else data[-1]
    return MatrixProduct(prod(result[:-1]), prod(result[-1:]), depth)


def _needed(group: FusionGroup) -> list[gs.Tensor]:
    """The tensors whose shapes its work hangs on."""
    layers = [tensor for node in group.layers for tensor in (*node.inputs[:2], node.outputs[0])]
    return [*layers, *(group.moved or _moved(group))]


def _moved(group: FusionGroup) -> list[gs.Tensor]:
    """What a kernel reads from outside and writes."""
    inner = {tensor.name for node in group.nodes for tensor in node.outputs}
    read = {tensor.name: tensor for node in group.nodes for tensor in node.inputs}
    outside = [tensor for name, tensor in read.items() if name not in inner]
    return [tensor for tensor in (*outside, *group.nodes[-1].outputs) if not tensor.is_empty()]


def _bytes(group: FusionGroup, shapes: Shapes, precisions: Precisions) -> int:
    if group.moved:
        return 2 * sum(_size(tensor, shapes) * precisions.width(tensor) for tensor in group.moved)
    weights = {node.inputs[1].name: WIDTH[precisions.of(node)] for node in group.nodes if node.op in LAYERS}
    tensors = _moved(group)
    widths = [weights.get(tensor.name) or precisions.width(tensor) for tensor in tensors]
    return sum(_size(tensor, shapes) * width for tensor, width in zip(tensors, widths, strict=True))


def _size(tensor: gs.Tensor, shapes: Shapes) -> int:
    return prod(size(tensor, shapes) or ())
