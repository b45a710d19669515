"""Two Convs in a row with at most a ReLU between them: a scale can move from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..convs import Conv, find_convs
from ..ties import refusal, tie


@dataclass(frozen=True, eq=False)
class ConvPair:
    """Every use of `first` feeds only one of `second` (`graph.ties`), whose input is one of `between`: the output of
    `first`, or of the ReLU after it. `linear`: no ReLU is between any two."""

    first: Conv
    second: Conv

    @property
    def between(self) -> list[gs.Tensor]:
        return [use.input for use in self.second.uses]

    @property
    def linear(self) -> bool:
        written = {id(use.output) for use in self.first.uses}
        return all(id(tensor) in written for tensor in self.between)


def find_conv_pairs(graph: gs.Graph, accepts: Callable[[gs.Node], bool]) -> Iterator[ConvPair]:
    """Every chain of two accepted Convs, the second ungrouped, in graph order."""
    outputs = {id(tensor) for tensor in graph.outputs}
    layers = [conv for conv in tie(find_convs(graph)) if refusal(conv, lambda use: _rejection(use, accepts)) is None]
    layer_of = {id(use.node): conv for conv in layers for use in conv.uses}
    for first in layers:
        followers = [_follower(use.node, outputs) for use in first.uses]
        second = layer_of.get(id(followers[0]))
        if second is not None and second.group == 1 and {id(node) for node in followers} == _nodes(second):
            yield ConvPair(first, second)


def _rejection(conv: Conv, accepts: Callable[[gs.Node], bool]) -> str | None:
    return None if accepts(conv.node) else "not accepted"


def _nodes(conv: Conv) -> set[int]:
    return {id(use.node) for use in conv.uses}


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
