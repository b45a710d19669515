"""Convs of one input whose outputs are added: one Conv, with the sum of their kernels.

    W_1 * x + b_1 + W_2 * x + b_2 + (s x + t) + x      ->      (W_1 + W_2 + diag(s) + I) * x + b_1 + b_2 + t

s x + t is a BatchNormalization of x, which counts as a kernel of one tap, as x itself does. All have one stride and one
number of groups, and each kernel stands where its padding has it in the common one (`windows`). So are blocks trained
that are meant to become one Conv: RepVGG (Ding et al., CVPR 2021, arXiv 2101.03697, section 3.3), ACNet (ICCV 2019,
arXiv 1908.03930).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import Conv
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.training_mode import node_training_mode
from ...compiler.graph.weights import declared_input, resolve
from .windows import Window, common_window, conv_attributes, windows_of

ADDS = ("Add", "Sum")
POINT = Window(1, 1, 0, 0)


@dataclass(frozen=True, eq=False)
class Term:
    """One of several that are added; `weight` (N, C/g, k...) and `bias` (N,) in float64.

    Attributes:
        node: None for x itself.
    """

    weight: np.ndarray
    bias: np.ndarray
    windows: tuple[Window, ...]
    node: gs.Node | None


@dataclass(frozen=True, eq=False)
class ConvSum:
    """A sum that is one Conv, not written yet.

    Attributes:
        adds: its nodes, the last of which writes the sum.
        convs: those among its terms.
    """

    adds: tuple[gs.Node, ...]
    convs: tuple[Conv, ...]
    terms: tuple[Term, ...]
    windows: tuple[Window, ...]

    @property
    def fewer(self) -> bool:
        """Whether the one Conv has no more multiplications than all together."""
        taps = prod(window.size for window in self.windows)
        return taps <= sum(prod(conv.kernel) for conv in self.convs)

    def write(self, rewriter: Rewriter) -> None:
        """Into the graph of `rewriter`, which is its own or a copy."""
        nodes = {node.name: node for node in rewriter.graph.nodes}
        first = self.convs[0]
        name = f"{first.name}.fused"
        weight = rewriter.constant(f"{name}.weight", self._weight().astype(first.dtype))
        bias = np.sum([term.bias for term in self.terms], axis=0).astype(first.dtype)
        inputs = [nodes[first.name].inputs[0], weight, rewriter.constant(f"{name}.bias", bias)]
        attrs = conv_attributes(self.windows, first.strides, first.group)
        *inner, last = (nodes[node.name] for node in self.adds)
        rewriter.replace(last, [rewriter.node("Conv", inputs, [], name, attrs, origin=first.name)])
        for node in (*reversed(inner), *(nodes[term.node.name] for term in self.terms if term.node is not None)):
            rewriter.remove(node)

    def _weight(self) -> np.ndarray:
        """The sum, (N, C/g, k...)."""
        shape = self.convs[0].weight.shape[:2]
        total = np.zeros((*shape, *(window.size for window in self.windows)))
        for term in self.terms:
            taps = [own.places(whole) for own, whole in zip(term.windows, self.windows, strict=True)]
            total[np.ix_(*map(range, shape), *taps)] += term.weight
        return total


def find_sums(graph: gs.Graph, convs: Mapping[int, Conv]) -> Iterator[ConvSum]:
    """Sums of which each can be written, whichever others are.

    Args:
        convs: by the id of the node, those that may become part of another.
    """
    outputs, taken = {id(tensor) for tensor in graph.outputs}, set[int]()
    for node in reversed(graph.nodes):
        if node.op not in ADDS or node.domain or id(node) in taken:
            continue
        found = _sum(node, graph, convs, outputs)
        if found is not None:
            taken.update(id(each) for each in found.adds)
            yield found


def _sum(last: gs.Node, graph: gs.Graph, convs: Mapping[int, Conv], outputs: set[int]) -> ConvSum | None:
    """The sum that `last` writes."""
    adds, leaves = _tree(last, graph, outputs)
    own = {id(leaf): convs[id(leaf.inputs[0])] for leaf in leaves if leaf.inputs and id(leaf.inputs[0]) in convs}
    own = {key: conv for key, conv in own.items() if _is_alone(conv.output, outputs)}
    members = tuple(own.values())
    kinds = {(id(conv.input), conv.strides, conv.group, conv.dtype, conv.filters) for conv in members}
    if len(kinds) != 1:
        return None
    terms = [
        _of_conv(own[id(leaf)]) if id(leaf) in own else _of_input(leaf, members[0], graph, outputs) for leaf in leaves
    ]
    known = tuple(term for term in terms if term is not None)
    if len(known) < len(terms) or sum(term.node is not None for term in known) < 2:
        return None
    windows = [common_window(axis) for axis in zip(*(term.windows for term in known), strict=True)]
    found = tuple(window for window in windows if window is not None)
    return ConvSum(tuple(adds), members, known, found) if len(found) == len(windows) else None


def _tree(last: gs.Node, graph: gs.Graph, outputs: set[int]) -> tuple[list[gs.Node], list[gs.Tensor]]:
    """The additions that end in `last`, in graph order, and what they add."""
    inside, leaves, waiting = {id(last)}, list[gs.Tensor](), list(last.inputs)
    while waiting:
        tensor = waiting.pop()
        node = tensor.inputs[0] if tensor.inputs and _is_alone(tensor, outputs) else None
        if node is not None and node.op in ADDS and not node.domain:
            inside.add(id(node))
            waiting += node.inputs
        else:
            leaves.append(tensor)
    return [node for node in graph.nodes if id(node) in inside], leaves


def _is_alone(tensor: gs.Tensor, outputs: set[int]) -> bool:
    """Whether one node reads it, and no caller."""
    return len(tensor.outputs) == 1 and id(tensor) not in outputs


def _of_conv(conv: Conv) -> Term | None:
    windows = windows_of(conv)
    bias = np.zeros(conv.filters) if conv.bias is None else conv.bias.astype(np.float64)
    return None if windows is None else Term(conv.weight.astype(np.float64), bias, windows, conv.node)


def _of_input(tensor: gs.Tensor, conv: Conv, graph: gs.Graph, outputs: set[int]) -> Term | None:
    """The input of `conv`, or a BatchNormalization of it, as a kernel of one tap."""
    if conv.channels != conv.filters or max(conv.strides) > 1:
        return None
    if tensor is conv.input:
        return _diagonal(np.ones(conv.filters), np.zeros(conv.filters), conv, None)
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or node.op != "BatchNormalization" or node.domain or node.inputs[0] is not conv.input:
        return None
    if not _is_alone(tensor, outputs) or node_training_mode(node, graph.opset) is not None:
        return None
    found = [None if declared_input(each, graph) else resolve(each) for each in node.inputs[1:5]]
    values = [value.astype(np.float64) for value in found if value is not None and value.shape == (conv.filters,)]
    if len(values) < len(found) or (graph.opset < 9 and not node.attrs.get("spatial", 1)):
        return None
    gamma, beta, mean, variance = values
    scale = gamma / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    return _diagonal(scale, beta - mean * scale, conv, node) if np.isfinite(scale).all() else None


def _diagonal(scale: np.ndarray, bias: np.ndarray, conv: Conv, node: gs.Node | None) -> Term:
    axes = len(conv.kernel)
    weight = np.zeros((*conv.weight.shape[:2], *[1] * axes))
    rows = np.arange(conv.filters)
    weight[(rows, rows % conv.weight.shape[1])] = scale.reshape(-1, *[1] * axes)
    return Term(weight, bias, (POINT,) * axes, node)
