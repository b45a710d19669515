"""A Conv and those that read what it writes, with at most a ReLU between: a scale can move from one to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..convs import Conv, find_convs
from ..ties import refusal, tie


@dataclass(frozen=True, eq=False)
class ConvChain:
    """Every use of `first` feeds only uses of `readers` (`graph.ties`), whose inputs are `between`: the output of
    `first`, or of the ReLU after it. `linear`: no ReLU is between any two."""

    first: Conv
    readers: Sequence[Conv]

    @property
    def between(self) -> list[gs.Tensor]:
        read = [use.input for reader in self.readers for use in reader.uses]
        return list({id(tensor): tensor for tensor in read}.values())

    @property
    def linear(self) -> bool:
        written = {id(use.output) for use in self.first.uses}
        return all(id(tensor) in written for tensor in self.between)


def find_conv_chains(graph: gs.Graph, accepts: Callable[[gs.Node], bool]) -> Iterator[ConvChain]:
    """Every chain of accepted Convs, in graph order."""
    outputs = {id(tensor) for tensor in graph.outputs}
    layers = [conv for conv in tie(find_convs(graph)) if refusal(conv, lambda use: _rejection(use, accepts)) is None]
    layer_of = {id(use.node): conv for conv in layers for use in conv.uses}
    for first in layers:
        followers = [_followers(use.node, outputs) for use in first.uses]
        nodes = {id(node) for each in followers for node in each}
        readers = {id(conv): conv for conv in map(layer_of.get, nodes) if conv is not None}.values()
        if all(followers) and nodes == {id(use.node) for reader in readers for use in reader.uses}:
            yield ConvChain(first, list(readers))


def _rejection(conv: Conv, accepts: Callable[[gs.Node], bool]) -> str | None:
    return None if accepts(conv.node) else "not accepted"


def _followers(node: gs.Node, outputs: set[int]) -> list[gs.Node]:
    """The Convs that read what a node writes, or the ReLU that alone does; none where something else does, too."""
    found = _consumers(node.outputs[0], outputs)
    if len(found) == 1 and found[0].op == "Relu":
        found = _consumers(found[0].outputs[0], outputs)
    return found if all(each.op == "Conv" for each in found) else []


def _consumers(tensor: gs.Tensor, outputs: set[int]) -> list[gs.Node]:
    """The nodes that read `tensor`, if all do as their data input alone."""
    alone = all(node.inputs[0] is tensor for node in tensor.outputs)
    twice = len({id(node) for node in tensor.outputs}) < len(tensor.outputs)
    return list(tensor.outputs) if alone and not twice and id(tensor) not in outputs else []
