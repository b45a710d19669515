"""Where Q/DQ pairs go, whatever their numbers are.

  1. A quantized layer (Conv, Gemm, MatMul with a constant weight) has a pair on its data input and on its weight; the
     bias stays in float and outputs get none.
  2. One pair per tensor serves all slots that read it quantized; other consumers keep the float tensor. A weight that
     layers share has one pair too.
  3. A residual Add of a quantized Conv that nobody else reads: the Conv's branch stays as it is, so that Conv + Add +
     ReLU fuse, and the other operand, the shortcut, gets a pair. Of two Convs the one with fewer nodes before it is the
     shortcut. Any other Add is left alone.
  4. Data movement (`MOVES`: MaxPool, Slice, Pad, Reshape, ...) needs no pair, it commutes with rounding. Where the
     tensors on both sides of it have pairs, they share one scale.
  5. Where the result of a Concat gets a pair, directly or through data movement, every input gets one, and all share
     one scale. A Concat with a constant operand is left alone.
  6. Where the result of an average pool gets a pair, directly or through data movement, so does its input: pooling runs
     in INT8 only between two pairs. Each side has its own scale.
  7. Twin branches (`graph.twins`) share their scales, so that equal inputs keep giving equal results.
  8. A tensor that comes from DequantizeLinear, or that a QuantizeLinear already reads, is left alone.

Where kernels write INT8 as well as read it (`closed`), rules 2 and 3 give way to these:

  9. One pair per tensor serves all that read it.
  10. The result of a quantized Conv gets a pair, after the Relu or Clip that alone reads it. So do both operands and
      the result of a residual Add. What no other quantized layer depends on stays in float. Where only a gate (a SiLU)
      reads the pair, its range is chosen behind it (`graph.quantization.gates`).

Sources: NVIDIA TensorRT developer guide 8.5, "Explicit quantization" and "Q/DQ placement recommendations";
onnx-tensorrt 8.5-GA, QuantDequantLinearHelper; NVIDIA/TensorRT#3861 (Add, Concat), #2976 (Resize), #3205 and
#3542 (SiLU: pairs around Conv, Sigmoid and Mul together);
onnxruntime, "Quantize ONNX models" and its QDQ selectors (rules 9 and 10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from ..twins import twin_classes
from .disjoint_sets import DisjointSets
from .quantizable import channel_axis, is_layer

REARRANGES = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "DepthToSpace", "SpaceToDepth"))
MOVES = REARRANGES | {"MaxPool", "Identity", "Dropout", "Slice", "Split", "Pad"}
AVERAGES = frozenset(("AveragePool", "GlobalAveragePool"))
CLAMPS = frozenset(("Relu", "Clip"))
Slot = tuple[gs.Node, int]


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A tensor that gets a pair, and the (node, input index) slots that read the pair's result."""

    tensor: gs.Tensor
    slots: list[Slot] = field(default_factory=list["Slot"])


@dataclass(frozen=True, eq=False)
class Placement:
    """All pairs of a graph.

    Attributes:
        activations: groups of entries; the entries of one group share a scale.
        weights: one entry per weight tensor and channel axis.
    """

    activations: list[list[QuantizedTensor]]
    weights: list[QuantizedTensor]


def place(graph: gs.Graph, accepts: Callable[[gs.Node], bool], closed: bool = False) -> Placement:
    """The pairs for the layers of `graph` that `accepts` takes; the rules are in the module docstring."""
    layers = [node for node in graph.nodes if is_layer(node) and accepts(node)]
    return Placement(_Activations(graph, layers, closed).groups(), quantized_weights(layers))


def quantized_weights(layers: Iterable[gs.Node]) -> list[QuantizedTensor]:
    """One entry per weight tensor and channel axis."""
    entries: dict[tuple[int, int], QuantizedTensor] = {}
    for node in layers:
        weight = node.inputs[1]
        entries.setdefault((id(weight), channel_axis(node)), QuantizedTensor(weight)).slots.append((node, 1))
    return list(entries.values())


class _Activations:
    """Builds the activation entries: seeds from rules 1, 3 and 10, closure under rules 4 to 7."""

    def __init__(self, graph: gs.Graph, layers: list[gs.Node], closed: bool):
        self._graph = graph
        self._layers = layers
        self._readers = _readers(graph) if closed else {}
        self._sites: dict[int, QuantizedTensor] = {}
        self._queue: list[gs.Tensor] = []
        self._scales = DisjointSets[int]()

    def groups(self) -> list[list[QuantizedTensor]]:
        for node in self._layers:
            self._add(node, 0)
        shortcuts = _shortcuts(self._graph, self._layers)
        for node, index in shortcuts:
            self._add(node, index)
        if self._readers:
            self._add_results([node for node, _ in shortcuts])
        while self._queue:
            self._close(self._queue.pop(0))
        for entry in list(self._sites.values()):
            self._share_upstream(entry.tensor)
        self._share_between_twins()
        return self._grouped()

    def _add(self, node: gs.Node, index: int) -> bool:
        tensor = node.inputs[index]
        if isinstance(tensor, gs.Constant) or _is_quantized(tensor):
            return False
        if id(tensor) not in self._sites:
            self._sites[id(tensor)] = QuantizedTensor(tensor, list(self._readers.get(id(tensor), ())))
            self._queue.append(tensor)
        slots = self._sites[id(tensor)].slots
        if not any(other is node and at == index for other, at in slots):
            slots.append((node, index))
        return True

    def _add_results(self, sums: list[gs.Node]) -> None:
        """Rule 10, of Convs and of `sums`."""
        needed = _ancestors(self._graph, self._layers)
        convs = [node for node in self._layers if node.op == "Conv"]
        for tensor in (clamped(node.outputs[0]) for node in (*convs, *sums)):
            if id(tensor) in needed:
                self._add(*self._readers[id(tensor)][0])

    def _close(self, tensor: gs.Tensor) -> None:
        node = _producer(_origin(tensor)[-1])
        if node is None:
            return
        if node.op in AVERAGES:
            self._add(node, 0)
        if node.op == "Concat" and not any(isinstance(operand, gs.Constant) for operand in node.inputs):
            for index, operand in enumerate(node.inputs):
                if self._add(node, index):
                    self._join(tensor, operand)

    def _share_upstream(self, tensor: gs.Tensor) -> None:
        for source in _origin(tensor)[1:]:
            if id(source) in self._sites:
                self._join(tensor, source)

    def _share_between_twins(self) -> None:
        by_name = {entry.tensor.name: entry.tensor for entry in self._sites.values()}
        for names in twin_classes(self._graph):
            twins = [by_name[name] for name in names if name in by_name]
            for other in twins[1:]:
                self._join(twins[0], other)

    def _join(self, one: gs.Tensor, other: gs.Tensor) -> None:
        self._scales.join(id(one), id(other))

    def _grouped(self) -> list[list[QuantizedTensor]]:
        groups: dict[int, list[QuantizedTensor]] = {}
        for key, entry in self._sites.items():
            groups.setdefault(self._scales.find(key), []).append(entry)
        return list(groups.values())


def _origin(tensor: gs.Tensor) -> list[gs.Tensor]:
    """`tensor` and the tensors that it is moved from, nearest first."""
    chain = [tensor]
    while (node := _producer(chain[-1])) is not None and node.op in MOVES:
        chain.append(node.inputs[0])
    return chain


def _readers(graph: gs.Graph) -> dict[int, list[Slot]]:
    """Tensor -> the slots of `graph` itself that read it."""
    found: dict[int, list[Slot]] = {}
    for node in graph.nodes:
        for index, tensor in enumerate(node.inputs):
            found.setdefault(id(tensor), []).append((node, index))
    return found


def _ancestors(graph: gs.Graph, layers: Iterable[gs.Node]) -> set[int]:
    """The tensors that some layer depends on. Nodes are in topological order."""
    chosen, found = {id(node) for node in layers}, set[int]()
    for node in reversed(graph.nodes):
        if id(node) in chosen or any(id(tensor) in found for tensor in node.outputs):
            found.update(id(tensor) for tensor in node.inputs)
    return found


def clamped(tensor: gs.Tensor) -> gs.Tensor:
    """Where rule 10 puts a pair: `tensor`, or what the Relu or Clip that alone reads it makes of it."""
    reader = tensor.outputs[0] if len(tensor.outputs) == 1 else None
    return reader.outputs[0] if reader is not None and reader.op in CLAMPS else tensor


def _producer(tensor: gs.Tensor) -> gs.Node | None:
    node = tensor.inputs[0] if tensor.inputs else None
    return node if node is not None and node.domain in (None, "", "ai.onnx") else None


def _is_quantized(tensor: gs.Tensor) -> bool:
    node = _producer(tensor)
    if node is not None and node.op == "DequantizeLinear":
        return True
    return any(consumer.op == "QuantizeLinear" for consumer in tensor.outputs)


def _shortcuts(graph: gs.Graph, layers: list[gs.Node]) -> list[tuple[gs.Node, int]]:
    """Rule 3: (Add, index of its shortcut operand)."""
    convs = {id(node) for node in layers if node.op == "Conv"}
    outputs = {id(tensor) for tensor in graph.outputs}
    depth = _depths(graph)
    found: list[tuple[gs.Node, int]] = []
    for node in graph.nodes:
        if node.op != "Add" or len(node.inputs) != 2 or not _same_shape(*node.inputs):
            continue
        fused = [i for i, x in enumerate(node.inputs) if _feeds_only(x, convs) and id(x) not in outputs]
        if fused:
            main = max(fused, key=lambda i: (depth.get(id(node.inputs[i]), 0), -i))
            found.append((node, 1 - main))
    return found


def _feeds_only(tensor: gs.Tensor, convs: set[int]) -> bool:
    return len(tensor.outputs) == 1 and len(tensor.inputs) == 1 and id(tensor.inputs[0]) in convs


def _same_shape(one: gs.Tensor, other: gs.Tensor) -> bool:
    """Not known to differ, and two different tensors."""
    if one is other or isinstance(one, gs.Constant) or isinstance(other, gs.Constant):
        return False
    return not one.shape or not other.shape or list(one.shape) == list(other.shape)


def _depths(graph: gs.Graph) -> dict[int, int]:
    """Tensor -> the most nodes on a way to it. Nodes are in topological order."""
    depth: dict[int, int] = {}
    for node in graph.nodes:
        level = 1 + max((depth.get(id(tensor), 0) for tensor in node.inputs), default=0)
        depth.update((id(tensor), level) for tensor in node.outputs)
    return depth
