"""The last layers before post-processing: what a detection head predicts, and what decodes it.

From the values that NonMaxSuppression, TopK or a TensorRT NMS plug-in chooses by, back to the first layers: between
these and the choice no other layer evens out a rounding error, and boxes and scores of very different sizes share one
tensor. A layer that reads a Softmax decodes (the expected distance of a distribution): it counts too, and the search
goes on behind it. Counts (Shape, Size) are no values, so the search ends there.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from .quantizable import is_layer

VALUES = {
    "NonMaxSuppression": 2,
    "TopK": 1,
    "EfficientNMS_TRT": 2,
    "EfficientNMS_ONNX_TRT": 2,
    "BatchedNMS_TRT": 2,
    "BatchedNMSDynamic_TRT": 2,
    "NMS_TRT": 3,
}
"""How many of the first inputs hold what is chosen from; the others are limits and counts."""
ENDS = frozenset(("Shape", "Size"))
MOVES = frozenset(("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity"))


def head_layers(graph: gs.Graph) -> dict[int, gs.Node]:
    """`id` of a layer -> the node that chooses by what it predicts."""
    found: dict[int, gs.Node] = {}
    for chooser in (node for node in graph.nodes if node.op in VALUES):
        for layer in _layers_before(chooser):
            found.setdefault(id(layer), chooser)
    return found


def _layers_before(chooser: gs.Node) -> Iterator[gs.Node]:
    waiting, seen = [producer for t in chooser.inputs[: VALUES[chooser.op]] for producer in t.inputs], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or node.op in ENDS:
            continue
        seen.add(id(node))
        if is_layer(node):
            yield node
        if not is_layer(node) or _decodes(node):
            waiting.extend(producer for tensor in node.inputs for producer in tensor.inputs)


def _decodes(layer: gs.Node) -> bool:
    """Its input is a Softmax, reshaped."""
    tensor = layer.inputs[0]
    while tensor.inputs and tensor.inputs[0].op in MOVES:
        tensor = tensor.inputs[0].inputs[0]
    return bool(tensor.inputs) and tensor.inputs[0].op == "Softmax"
