"""Channels whose scales are free: Convs write them, Convs alone read them, and what is between commutes with a scale.

    W x + b  ->  ReLU, MaxPool, Concat of channels, Identity, Dropout  ->  V y

A channel is a filter of a Conv, the same in all uses of a stored weight (`graph.ties`); by its number it is known in
every tensor that it gets to. Numbers hold until the graph is edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ..convs import Conv, find_convs
from ..ties import refusal, tie
from .disjoint_sets import DisjointSets

LINEAR = frozenset(("MaxPool", "Identity", "Dropout"))


@dataclass(frozen=True, eq=False)
class ScaledLayer:
    """A Conv, and the numbers of the channels that it writes (N,) and reads (C,); None of what is not known."""

    conv: Conv
    written: np.ndarray
    read: np.ndarray | None


@dataclass(frozen=True, eq=False)
class ChannelScales:
    """The channels of a graph that Convs write.

    Attributes:
        layers: with weights that are stored for them alone.
        tensors: what Convs read, and the numbers of its channels.
        fixed: (channels,) bool: something else sees the channel, too.
    """

    layers: Sequence[ScaledLayer]
    tensors: Mapping[str, np.ndarray]
    fixed: np.ndarray

    def together(self) -> Iterable[np.ndarray]:
        """The numbers of channels that meet in some tensor."""
        sets, groups = DisjointSets[int](), dict[int, list[int]]()
        for first, *others in (numbers.tolist() for numbers in self.tensors.values()):
            for other in others:
                sets.join(first, other)
        for number in np.unique(np.concatenate([*self.tensors.values(), np.zeros(0, np.intp)])).tolist():
            groups.setdefault(sets.find(number), []).append(number)
        return [np.array(group) for group in groups.values()]


def find_channel_scales(graph: gs.Graph, accepts: Callable[[gs.Node], bool], through_relu: bool) -> ChannelScales:
    """Of the Convs that `accepts` takes; without `through_relu` a ReLU sees the scales of its channels."""
    return _Search(graph, accepts, LINEAR | {"Relu"} if through_relu else LINEAR).run()


@dataclass(eq=False)
class _Search:
    graph: gs.Graph
    accepts: Callable[[gs.Node], bool]
    passed: frozenset[str]
    count: int = 0
    own: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])
    numbers: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])

    def run(self) -> ChannelScales:
        tied = tie(find_convs(self.graph))
        convs = [conv for conv in tied if refusal(conv, self._rejection) is None]
        self.layer_of = {id(use.node): conv for conv in convs for use in conv.uses}
        tensors = [self._follow(node) for node in self.graph.nodes]
        fixed = np.zeros(self.count, bool)
        for tensor in tensors:
            if id(tensor) in self.numbers and self._is_seen(tensor):
                fixed[self.numbers[id(tensor)]] = True
        layers = [self._layer(conv, fixed) for conv in convs]
        read = [use.input for conv in convs for use in conv.uses if id(use.input) in self.numbers]
        return ChannelScales(layers, {tensor.name: self.numbers[id(tensor)] for tensor in read}, fixed)

    def _rejection(self, conv: Conv) -> str | None:
        return None if self.accepts(conv.node) else "not accepted"

    def _follow(self, node: gs.Node) -> gs.Tensor:
        """The first result of a node, whose channels get their numbers, if they have any."""
        made = self._made(node)
        if made is not None:
            self.numbers[id(node.outputs[0])] = made
        return node.outputs[0]

    def _made(self, node: gs.Node) -> np.ndarray | None:
        layer = self.layer_of.get(id(node))
        if layer is not None:
            return self._own(layer)
        if node.domain not in (None, "", "ai.onnx"):
            return None
        if node.op in self.passed:
            return self.numbers.get(id(node.inputs[0]))
        parts = [self.numbers.get(id(tensor)) for tensor in node.inputs] if _joins_channels(node) else []
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if known and len(known) == len(parts) else None

    def _own(self, layer: Conv) -> np.ndarray:
        if id(layer) not in self.own:
            self.own[id(layer)] = np.arange(self.count, self.count + layer.filters)
            self.count += layer.filters
        return self.own[id(layer)]

    def _is_seen(self, tensor: gs.Tensor) -> bool:
        """By an output of the network, or by a reader that is none of what may be."""
        if any(tensor is output for output in self.graph.outputs):
            return True
        return any(not self._commutes(node, tensor) for node in tensor.outputs)

    def _commutes(self, node: gs.Node, tensor: gs.Tensor) -> bool:
        if id(node) in self.layer_of:
            return [index for index, each in enumerate(node.inputs) if each is tensor] == [0]
        return any(id(made) in self.numbers for made in node.outputs[:1])

    def _layer(self, conv: Conv, fixed: np.ndarray) -> ScaledLayer:
        """What its uses read has the same channels, or is `fixed`."""
        read = [self.numbers.get(id(use.input)) for use in conv.uses]
        known = [each for each in read if each is not None]
        if len(known) == len(read) and all(np.array_equal(each, known[0]) for each in known):
            return ScaledLayer(conv, self._own(conv), known[0])
        for each in known:
            fixed[each] = True
        return ScaledLayer(conv, self._own(conv), None)


def _joins_channels(node: gs.Node) -> bool:
    return node.op == "Concat" and node.attrs.get("axis") == 1
