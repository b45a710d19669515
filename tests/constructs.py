"""The constructs of a network that a removal of channels went through, by name: what a property test has covered."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs
from onnx_compress.compiler.graph.channels import Channels, Selection
from onnx_compress.compiler.graph.channels.selection import stays

Sizes = dict[str, int]
EXPECTED = (
    *("Conv", "grouped Conv", "depthwise Conv", "ConvTranspose", "grouped ConvTranspose", "shared weight"),
    *("Add", "Sub", "Mul", "Max", "Sum", "Concat", "Concat of a tensor with itself", "Tile", "Expand"),
    *("Split of channels", "Slice of channels", "Gather of channels", "Pad of channels", "Slice", "Gather", "Split"),
    *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "Softmax", "PRelu", "Relu", "Sigmoid"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Resize", "DepthToSpace", "SpaceToDepth"),
    *("Flatten", "Reshape", "channel shuffle", "tokens", "Unsqueeze", "Gemm", "MatMul", "Shape"),
    *("QuantizeLinear", "DequantizeLinear", "squeeze and excite"),
)


def constructs(channels: Channels, kept: Selection) -> set[str]:
    """Those with a tensor that lost a channel; ask before the graph is edited."""
    keep = stays(channels, kept)
    sizes = {name: len(labels.ids) for name, labels in channels.tensors.items() if not keep(labels.ids).all()}
    hit = [node for node in channels.graph.nodes if any(t.name in sizes for t in (*node.inputs, *node.outputs))]
    return {name for node in hit for name in _names(node, sizes)}


def _names(node: gs.Node, sizes: Sizes) -> Iterator[str]:
    yield node.op
    if node.op in ("Conv", "ConvTranspose"):
        yield from _layer(node)
    if node.op in ("Split", "Slice", "Gather", "Pad") and _count(node.inputs[0], sizes) != _count(
        node.outputs[0], sizes
    ):
        yield f"{node.op} of channels"
    if node.op == "Concat" and len({tensor.name for tensor in node.inputs}) < len(node.inputs):
        yield "Concat of a tensor with itself"
    if node.op == "Transpose":
        yield "channel shuffle" if len(node.attrs["perm"]) == 5 else "tokens"
    if node.op == "Mul" and any(t.inputs and t.inputs[0].op == "Sigmoid" for t in node.inputs):
        yield "squeeze and excite"


def _layer(node: gs.Node) -> Iterator[str]:
    if len(node.inputs[1].outputs) > 1:
        yield "shared weight"
    if node.attrs.get("group", 1) > 1:
        yield f"{'depthwise' if node.inputs[1].shape[1] == 1 else 'grouped'} {node.op}"


def _count(tensor: gs.Tensor, sizes: Sizes) -> int:
    return sizes.get(tensor.name, 0)
