"""All 256 codes for tensors that are never negative, where activations in INT8 are symmetric.

What comes out of a Relu has no use for the codes below 0: of 8 bits 7 are left. It is stored less by half of its range:

    x' = x - 128 s      clip(round(x' / s), -128, 127) = clip(round(x / s), 0, 255) - 128      s: a 255th of the range

so that a symmetric pair has of x' what UINT8 with zero point 0 has of x, code by code. In biases it costs nothing:

    y = relu(W z + b)    y' = W z + (b - 128 s)           saturation at the code -128 is the Relu
    y = W x + b          y  = W x' + (b + 128 s W 1)      128 times the sum of the codes of a row: whole steps
    y = W z + b + x      y  = W z + (b + 128 s) + x'      the shortcut of a residual sum

A Clip at m goes, too, where all that it clips has the code 255, as it has where s is found in its own range; else it
stays, with its limits less by 128 s. Between the layer that writes and those that read stands only what commutes with
a shift: data movement, MaxPool (its padding is no value), and Concat of tensors that are all shifted by the same. All
tensors that are tied in this way, or share a scale (`qdq`), are shifted together or not at all.

What cannot be shifted: what a Conv with zeros around it reads (they would have to be -128 s), an average that has a
pair behind it (that one has a scale of its own), or anything in float; what is not written by a layer with a bias.

Relative error of the outputs on samples that were kept apart (16 for DeepLab, else 64), and what pictures that were not
calibrated with say, in each case without and with shifts; the mean over so many seeds:

                          seeds  shifted    error               classes as in float
    SqueezeNet 1.1          4    25 of 34   0.0315   0.0239     92.8   93.8 % of 500
    MobileNetV2             4    17 of 54   0.0437   0.0372     97.1   98.1
    EfficientNet-Lite0      2    16 of 51   0.0693   0.0664     98.9   99.2
    DeepLab v3              4    18 of 57   0.0477   0.0440     35.83  35.96 mIoU of 100; pixels 98.94 and 99.16 %
    FastestDet              1     8 of 69   0.2199   0.2130     35.2   35.7 mAP50 of 128

Nothing is shifted in YOLOX-nano (SiLU) and in the ResNets for CIFAR-10 (3x3 kernels with zeros around them). By the
estimate the time is the same: the Relu was no kernel of its own.

Tensors with values of both signs are left. What projections of inverted residuals and their sums hold could be moved
channel by channel, the middle of each to 0: rounding then adds 0.8 of what it did to 17 such tensors of DeepLab. Error
of the outputs without and with it, of 64 pictures of DeepLab, else of 512; the mean over so many seeds:

    DeepLab 0.0353, 0.0351 (4)    MobileNetV2 0.0414, 0.0429 (2)    EfficientNet-Lite0 0.0638, 0.0633 (1)

Without any rounding of them DeepLab's would be 0.93 of what it is, without that of what padded Convs read 0.64 of it.

A tensor that is shifted is renamed, and so is what a layer writes on the way to it: nobody takes it for that of the
original network, and who reads the pairs back into float (`dequantize`) knows of the Relu.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ..convs import Conv, find_convs
from ..gemms import find_gemms
from ..linear_layer import LinearLayer
from ..rewriter import Rewriter
from ..weights import resolve
from .disjoint_sets import DisjointSets
from .qdq import MOVES, Placement, QuantizedTensor, Slot

SUFFIX = ".shifted"
RENAMED = re.compile(re.escape(SUFFIX) + r"(_\d+)?$")
HALF, HIGHEST = 128, 255
CARRIERS = (MOVES - {"Pad"}) | {"Concat"}
CLIP_INPUTS = 11
"""The opset from which on Clip has its limits as inputs."""
SCALES = "it is moved to where it has another scale"
Group = Sequence[QuantizedTensor]


@dataclass(frozen=True, eq=False)
class Shift:
    """Tensors that are shifted together.

    Attributes:
        group: of a placement, those that have pairs.
        tensors: all of them, with pairs or without.
        clamps: the Relus and Clips that they come from.
        writers: layers whose results are to be less by the shift.
        sums: layers whose results are to be more by it, as what is added to them is less.
        readers: layers whose inputs are less by it.
    """

    group: Group
    tensors: list[gs.Tensor]
    clamps: list[gs.Node] = field(default_factory=list[gs.Node])
    writers: list[LinearLayer] = field(default_factory=list[LinearLayer])
    sums: list[LinearLayer] = field(default_factory=list[LinearLayer])
    readers: list[LinearLayer] = field(default_factory=list[LinearLayer])


def find_shifts(graph: gs.Graph, placement: Placement) -> tuple[list[Shift], dict[str, str]]:
    """What can be shifted of the tensors that have pairs in `placement`, and why the others cannot, by name."""
    return _Search(graph, placement).run()


def write_shift(rewriter: Rewriter, shift: Shift, scale: float) -> None:
    """Take out the Relus and Clips of a shift that is 128 times `scale`, and rename what it moves; biases are left."""
    for clamp in shift.clamps:
        top = highest(clamp)
        if top is None or np.rint(np.float32(top) / np.float32(scale)) >= HIGHEST:
            rewriter.absorb(clamp, clamp.inputs[0].inputs[0])
        else:
            _move_limits(rewriter, clamp, np.float32(HALF * scale), top)
    moved = [layer.output for layer in (*shift.writers, *shift.sums)]
    before = [clamp.inputs[0] for clamp in shift.clamps if clamp.inputs]
    for tensor in (*shift.tensors, *moved, *before):
        if not is_shifted(tensor):
            tensor.name = rewriter.fresh_name(f"{tensor.name}{SUFFIX}")


def is_shifted(tensor: gs.Tensor) -> bool:
    """By its name."""
    return unshifted_name(tensor.name) != tensor.name


def unshifted_name(name: str) -> str:
    """What a tensor is called in the original network."""
    return RENAMED.sub("", name)


def shifts_of(graph: gs.Graph) -> dict[str, float]:
    """Tensor that is stored shifted -> by how much: the original network has max(x' + shift, 0) there."""
    found: dict[str, float] = {}
    for node in reversed(graph.nodes):
        scale = resolve(node.inputs[1]) if node.op == "QuantizeLinear" else None
        if scale is not None and is_shifted(node.inputs[0]):
            found[node.inputs[0].name] = HALF * float(scale.max())
        for tensor in _carried(node):
            by = next((found[made.name] for made in node.outputs if made.name in found), None)
            if by is not None and is_shifted(tensor):
                found[tensor.name] = by
    return found


def _move_limits(rewriter: Rewriter, clamp: gs.Node, shift: np.float32, top: float) -> None:
    limits = {"min": -shift, "max": np.float32(top) - shift}
    if (rewriter.graph.opset or 0) < CLIP_INPUTS:
        clamp.attrs.update({key: float(value) for key, value in limits.items()})
        return
    for index, (key, value) in enumerate(limits.items(), 1):
        rewriter.set_input(clamp, index, rewriter.constant(f"{clamp.name}.{key}", np.asarray(value)))


def clamps_at_zero(node: gs.Node) -> bool:
    """A Relu, or a Clip whose lower limit is 0."""
    return node.op == "Relu" or (node.op == "Clip" and limit_of(node, 1, "min") == 0)


def highest(clamp: gs.Node) -> float | None:
    """The upper limit."""
    return None if clamp.op == "Relu" else limit_of(clamp, 2, "max")


def limit_of(clip: gs.Node, index: int, key: str) -> float | None:
    """An input of a Clip, or before opset 11 an attribute; None where there is none, or it is not constant."""
    if index >= len(clip.inputs) or clip.inputs[index].is_empty():
        return clip.attrs.get(key)
    value = resolve(clip.inputs[index])
    return None if value is None or value.size != 1 else float(value.reshape(()))


class _Search:
    def __init__(self, graph: gs.Graph, placement: Placement):
        self._graph, self._placement = graph, placement
        self._nodes, self._outputs = {id(node) for node in graph.nodes}, {id(tensor) for tensor in graph.outputs}
        self._layers = {id(layer.node): layer for layer in _layers(graph)}
        entries = [entry for group in placement.activations for entry in group]
        self._rounded = {(id(node), index) for entry in entries for node, index in entry.slots}

    def run(self) -> tuple[list[Shift], dict[str, str]]:
        found, reasons = list[Shift](), dict[str, str]()
        for tensors, groups in self._tied():
            shift = Shift(groups[0], tensors)
            problems = (self._refusal(tensor, shift) for tensor in tensors)
            reason = SCALES if len(groups) > 1 else next((each for each in problems if each is not None), None)
            if reason is None:
                found.append(shift)
            else:
                reasons.update((entry.tensor.name, reason) for group in groups for entry in group)
        return found, reasons

    def _tied(self) -> Iterator[tuple[list[gs.Tensor], list[Group]]]:
        """Tensors that are shifted together, and the groups of `placement` that are among them."""
        ties = [[entry.tensor for entry in group] for group in self._placement.activations]
        ties += [tensors for node in self._graph.nodes if (tensors := _carried(node))]
        sets = DisjointSets[int]()
        for first, *others in ties:
            for other in others:
                sets.join(id(first), id(other))
        tensors, groups = dict[int, dict[int, gs.Tensor]](), dict[int, list[Group]]()
        for tied in ties:
            tensors.setdefault(sets.find(id(tied[0])), {}).update((id(tensor), tensor) for tensor in tied)
        for group in self._placement.activations:
            groups.setdefault(sets.find(id(group[0].tensor)), []).append(group)
        yield from ((list(tensors[key].values()), found) for key, found in groups.items())

    def _refusal(self, tensor: gs.Tensor, shift: Shift) -> str | None:
        """Why a tensor cannot be shifted; else `shift` gets what is around it."""
        if id(tensor) in self._outputs:
            return "it is an output of the network"
        readers = {id(node): node for node in tensor.outputs}.values()
        slots = [(node, index) for node in readers for index, read in enumerate(node.inputs) if read is tensor]
        problems = (self._unread(slot, shift) for slot in slots)
        return self._unwritten(tensor, shift) or next((each for each in problems if each is not None), None)

    def _unwritten(self, tensor: gs.Tensor, shift: Shift) -> str | None:
        node = tensor.inputs[0] if tensor.inputs else None
        if node is None:
            return "no layer writes it"
        if _carried(node):
            return None
        if not clamps_at_zero(node):
            return f"{node.op} '{node.name}' writes it"
        layer = self._moving(node.inputs[0], node)
        if layer is None:
            return f"no bias moves what '{node.name}' reads"
        shift.clamps.append(node)
        shift.writers.append(layer)
        return None

    def _unread(self, slot: Slot, shift: Shift) -> str | None:
        node, index = slot
        if _carried(node) and id(node) in self._nodes:
            return None
        if (id(node), index) not in self._rounded:
            return f"{node.op} '{node.name}' reads it in float"
        if node.op == "Add":
            return self._unadded(node, 1 - index, shift)
        layer = self._layers.get(id(node))
        if layer is None:
            return f"{node.op} '{node.name}' reads it"
        if isinstance(layer, Conv) and _is_padded(layer):
            return f"'{node.name}' puts zeros around it"
        shift.readers.append(layer)
        return None

    def _unadded(self, node: gs.Node, other: int, shift: Shift) -> str | None:
        layer = self._addend(node, other)
        if layer is None:
            return f"no bias moves what '{node.name}' adds to it"
        shift.sums.append(layer)
        return None

    def _moving(self, tensor: gs.Tensor, reader: gs.Node) -> LinearLayer | None:
        """The layer whose bias is added to `tensor`, which `reader` alone reads."""
        node = self._writer(tensor, reader)
        if node is None or node.op != "Add":
            return None if node is None else self._layers.get(id(node))
        return self._addend(node, 0) or self._addend(node, 1)

    def _addend(self, node: gs.Node, index: int) -> LinearLayer | None:
        """The layer that writes what a sum adds in float."""
        if len(node.inputs) != 2 or (id(node), index) in self._rounded:
            return None
        layer = self._writer(node.inputs[index], node)
        return None if layer is None else self._layers.get(id(layer))

    def _writer(self, tensor: gs.Tensor, reader: gs.Node) -> gs.Node | None:
        """The node that writes `tensor`, if `reader` alone reads it."""
        alone = len(tensor.outputs) == 1 and tensor.outputs[0] is reader and id(tensor) not in self._outputs
        return tensor.inputs[0] if alone and tensor.inputs else None


def _layers(graph: gs.Graph) -> Iterator[LinearLayer]:
    """Those whose bias can be changed."""
    yield from find_convs(graph)
    for gemm in find_gemms(graph):
        if all(gemm.node.attrs.get(factor, 1.0) == 1.0 for factor in ("alpha", "beta")):
            yield gemm


def _carried(node: gs.Node) -> list[gs.Tensor]:
    """What is shifted together where a node moves data; nothing where it does not."""
    if node.op not in CARRIERS or node.domain not in (None, "", "ai.onnx"):
        return []
    return [*(node.inputs if node.op == "Concat" else node.inputs[:1]), *node.outputs]


def _is_padded(conv: Conv) -> bool:
    if conv.node.attrs.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"):
        return any(side for sides in conv.pads(()) for side in sides)
    return any(size > 1 for size in conv.kernel)
