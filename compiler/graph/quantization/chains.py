"""Two Convs in a row with at most a ReLU between them: a scale can move from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..convs import Conv, view


@dataclass(frozen=True, eq=False)
class ConvPair:
    """`first` feeds only `second`, whose input is `between`: the output of `first`, or of the ReLU after it."""

    first: Conv
    second: Conv

    @property
    def between(self) -> gs.Tensor:
        return self.second.input

    @property
    def linear(self) -> bool:
        return self.second.input is self.first.output


def find_conv_pairs(graph: gs.Graph, accepts: Callable[[gs.Node], bool]) -> Iterator[ConvPair]:
    """Every chain of two accepted Convs, the second ungrouped, in graph order."""
    outputs = {id(tensor) for tensor in graph.outputs}
    for node in graph.nodes:
        follower = _follower(node, outputs) if node.op == "Conv" and accepts(node) else None
        if follower is None or not accepts(follower) or follower.attrs.get("group", 1) != 1:
            continue
        first, second = view(node), view(follower)
        if first is not None and second is not None:
            yield ConvPair(first, second)


def _follower(node: gs.Node, outputs: set[int]) -> gs.Node | None:
    consumer = _only_consumer(node.outputs[0], outputs)
    if consumer is not None and consumer.op == "Relu":
        consumer = _only_consumer(consumer.outputs[0], outputs)
    return consumer if consumer is not None and consumer.op == "Conv" else None


def _only_consumer(tensor: gs.Tensor, outputs: set[int]) -> gs.Node | None:
    """The one node that reads `tensor`, as its data input."""
    if id(tensor) in outputs or len(tensor.outputs) != 1 or tensor.outputs[0].inputs[0] is not tensor:
        return None
    return tensor.outputs[0]
