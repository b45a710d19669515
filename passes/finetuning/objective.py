"""Which losses apply to a network, and what they need of the original.

    distill     softened + relative on every output of class scores, by channel on every other output (default)
    features    relative at the ends of blocks that both networks have (`compiler.graph.boundaries`)
    ce          labelled on the first output

Joined by `+`, each counts 1. With `ortho`, the orthogonal term of every Conv that is a basis: one without bias that
feeds nothing but another Conv.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.errors import Unavailable, UsageError, nearest
from ...compiler.graph.boundaries import End, block_ends
from . import losses
from .parameters import TrainableParameter
from .program import LOSS, trained_name

LOSSES = ("distill", "features", "ce")
ONE_HOT = "training/labels"
FEATURES = 4
"""Ends compared at most, the last one included: 18 take a third of a step of SqueezeNet, for nothing beyond noise."""
Shapes = Mapping[str, tuple[int, ...]]
Scaled = Mapping[str, tuple[tuple[int, ...], np.ndarray]]


@dataclass
class Objective:
    """The losses of a network.

    Attributes:
        text: of the losses (`losses`), ending in `program.LOSS`.
        teacher: outputs and features of the original by name, with the input of the program they go to.
        shapes: of those inputs, and of the labels.
        taken: tensors of the network in whose place its layers read the original's, with the input they go to.
        labelled: labels are needed, one-hot, as `ONE_HOT`.
    """

    text: str = ""
    teacher: dict[str, str] = field(default_factory=dict[str, str])
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, "tuple[int, ...]"])
    taken: dict[str, str] = field(default_factory=dict[str, str])
    labelled: bool = False
    terms: list[tuple[str, float]] = field(default_factory=list["tuple[str, float]"])

    def add(self, name: str, text: str, weight: float = 1.0) -> None:
        self.text += text
        self.terms.append((name, weight))

    def of_teacher(self, tensor: str, shape: tuple[int, ...]) -> str:
        """The program's input for a tensor of the original."""
        self.teacher[tensor] = f"training/teacher/{tensor}"
        self.shapes[self.teacher[tensor]] = shape
        return self.teacher[tensor]


def parse_losses(text: str) -> list[str]:
    """`distill+ce` -> its parts; `UsageError` for one that is not known."""
    parts = text.split("+")
    for part in parts:
        if part not in LOSSES:
            raise UsageError(f"no loss '{part}'", "finetune:loss", nearest(part, LOSSES))
    return list(dict.fromkeys(parts))


def objective(
    chosen: Sequence[str], outputs: Scaled, features: Shapes, rated: Sequence[str], temperature: float
) -> Objective:
    """The losses `chosen`; shapes are those of one batch, the same in both networks.

    Without `features` those are left out, unless they are all that was chosen: then `Unavailable`.

    Args:
        outputs: shape by name, and what errors are held against (`channels`).
        rated: outputs that may hold class scores, the first one for labels.
    """
    found = Objective()
    if "distill" in chosen:
        _distill(found, outputs, rated, temperature)
    if "features" in chosen and (features or len(chosen) == 1):
        _features(found, features)
    if "ce" in chosen:
        _labelled(found, rated[0], outputs)
    return found


def with_ortho(found: Objective, graph: gs.Graph, parameters: Sequence[TrainableParameter], weight: float) -> Objective:
    """Adds the orthogonal terms, so that they count `weight` in all for each basis."""
    named = {parameter.name: parameter for parameter in parameters}
    for conv in basis_convs(graph):
        parameter = named.get(conv.inputs[1].name)
        if parameter is not None and len(parameter.values) > 1:
            name = f"training/ortho/{conv.name}"
            found.add(name, losses.orthogonal(trained_name(parameter), name, parameter.values.shape), weight)
    return found


def finished(found: Objective) -> str:
    """The text of the losses and of their sum."""
    return found.text + losses.weighted_sum(found.terms, LOSS)


def basis_convs(graph: gs.Graph) -> list[gs.Node]:
    """Convs without bias that feed one other Conv and nothing else."""
    outputs = {id(tensor) for tensor in graph.outputs}
    return [
        node
        for node in graph.nodes
        if node.op == "Conv"
        and len(node.inputs) == 2
        and id(node.outputs[0]) not in outputs
        and [consumer.op for consumer in node.outputs[0].outputs] == ["Conv"]
        and node.outputs[0].outputs[0].inputs[0] is node.outputs[0]
    ]


def feature_ends(graph: gs.Graph, original: gs.Graph, outputs: Sequence[str]) -> list[End]:
    """The ends of blocks that both networks compute, at most `FEATURES`, evenly."""
    there = {tensor.name for node in original.nodes for tensor in node.outputs}
    common = [end for end in block_ends(graph, outputs) if there.issuperset(end)]
    step = max(-(-len(common) // FEATURES), 1)
    return common[::-1][::step][::-1]


def _distill(found: Objective, outputs: Scaled, rated: Collection[str], temperature: float) -> None:
    """`rated`: those that may hold class scores."""
    for name, (shape, scale) in outputs.items():
        teacher, term = found.of_teacher(name, shape), f"training/relative/{name}"
        if name not in rated or not is_scores(shape):
            found.add(term, losses.by_channel(name, teacher, term, shape, scale))
            continue
        found.add(term, losses.relative(name, teacher, term))
        term = f"training/softened/{name}"
        found.add(term, losses.softened(name, teacher, term, shape[1], temperature))


def _features(found: Objective, features: Shapes) -> None:
    if not features:
        what = "the networks have no feature of the same name and shape"
        raise Unavailable(what, "finetune:loss=features", "use loss=distill")
    for name, shape in features.items():
        term = f"training/feature/{name}"
        found.add(term, losses.relative(name, found.of_teacher(name, shape), term), 1 / len(features))


def _labelled(found: Objective, output: str, outputs: Scaled) -> None:
    shape = {name: found for name, (found, _) in outputs.items()}.get(output, ())
    if not is_scores(shape):
        raise Unavailable(f"output '{output}' has no class scores", "finetune:loss=ce", "use loss=distill")
    found.labelled = True
    found.shapes[ONE_HOT] = shape
    term = "training/labelled"
    found.add(term, losses.labelled(output, ONE_HOT, term, shape[1]))


def is_scores(shape: tuple[int, ...]) -> bool:
    """Whether an output of that shape is a row of class scores per sample."""
    return len(shape) >= 2 and shape[1] > 1 and all(size == 1 for size in shape[2:])
