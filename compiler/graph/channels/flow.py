"""What is written down while the rules walk a graph in order.

Every index of a channel axis of a tensor carries a label, an integer. A layer gives its filters fresh labels; the rules
hand them on, and tie two labels where the operator matches one channel with another. Later the ties make units: the
sets of labels that live or die together.

1. A tensor carries labels along one axis at most, and at least two of them. A tensor without labels keeps its shape.
2. A slot says that one axis of a constant input of a node has an entry per label, to be sliced with them.
3. An update is what else a node needs once labels are gone: sizes, bounds, amounts, the number of groups.
4. Frozen labels stay, each with a reason; so does every label tied to one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from ..shapes import Shapes
from ..weights import resolve, sources

Role = Literal["filter", "input", "parameter"]


class KeptLabels(Protocol):
    """Which labels stay."""

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """A bool per label."""
        ...


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels along `axis` of a tensor, (n,) int64."""

    axis: int
    ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Slot:
    """Axis `axis` of the constant input number `input` of `node` has one entry per label in `ids`.

    Roles: the entries make the channels out of others ("filter"), read them in a sum over channels ("input"), or belong
    to them alone ("parameter": biases, scales, depthwise filters).
    """

    node: gs.Node
    input: int
    axis: int
    role: Role
    ids: np.ndarray


@dataclass(frozen=True, eq=False)
class NodeUpdate:
    """To be applied once some of `ids` are gone."""

    ids: np.ndarray
    apply: Callable[[KeptLabels, Rewriter], None]


@dataclass(frozen=True, eq=False)
class Note:
    """A sentence about labels: a tie, or why they are frozen."""

    ids: np.ndarray
    text: str


class Flow:
    """The labels of a graph. `shapes` are those of one sample (`infer_shapes`)."""

    def __init__(self, graph: gs.Graph, shapes: Shapes):
        self.graph = graph
        self.count = 0
        self.slots: list[Slot] = []
        self.updates: list[NodeUpdate] = []
        self.ties: list[tuple[np.ndarray, np.ndarray]] = []
        self.notes: list[Note] = []
        self.frozen: list[Note] = []
        self.labels: dict[str, Labels] = {}
        self.sizes: dict[str, dict[int, Labels]] = {}
        self._shapes = shapes
        self._declared = {tensor.name for tensor in graph.inputs}
        self._values: dict[str, np.ndarray | None] = {}

    def of(self, tensor: gs.Tensor) -> Labels | None:
        return self.labels.get(tensor.name)

    def set_labels(self, tensor: gs.Tensor, axis: int, ids: np.ndarray) -> None:
        """Label `tensor`, by rule 1: a channel that is alone stays."""
        if tensor.is_empty():
            return
        if len(ids) < 2:
            self.freeze(ids, f"the only channel of '{tensor.name}'")
            return
        self.labels[tensor.name] = Labels(axis, ids)

    def fresh(self, count: int) -> np.ndarray:
        """New labels."""
        self.count += count
        return np.arange(self.count - count, self.count)

    def slot(self, node: gs.Node, index: int, axis: int, role: Role, ids: np.ndarray) -> None:
        self.slots.append(Slot(node, index, axis, role, ids))

    def add_update(self, ids: np.ndarray, apply: Callable[[KeptLabels, Rewriter], None]) -> None:
        self.updates.append(NodeUpdate(ids, apply))

    def tie(self, first: np.ndarray, second: np.ndarray, why: str) -> None:
        """Labels at the same position live or die together."""
        first, second = first.ravel(), second.ravel()
        apart = first != second
        if apart.any():
            self.ties.append((first[apart], second[apart]))
            self.notes.append(Note(first[apart], why))

    def tie_rows(self, rows: np.ndarray, why: str) -> np.ndarray:
        """Labels in the same column live or die together; one of each column."""
        self.tie(rows[1:], np.broadcast_to(rows[0], rows[1:].shape), why)
        return rows[0]

    def freeze(self, ids: np.ndarray, why: str) -> None:
        self.frozen.append(Note(ids, why))

    def stop(self, node: gs.Node, why: str) -> None:
        """What reaches `node` stays, and what leaves it has no labels."""
        for tensor in node.inputs:
            labels = self.of(tensor)
            if labels is not None:
                self.freeze(labels.ids, f"{title(node)} {why}")

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        if isinstance(tensor, gs.Constant):
            return tuple(tensor.shape)
        shape = self._shapes.get(tensor.name)
        if shape is None and tensor.inputs:
            value = self.constant(tensor)
            return None if value is None else value.shape
        return shape

    def constant(self, tensor: gs.Tensor) -> np.ndarray | None:
        """The value of `tensor` where it is the same in every run; a default of a model input is not."""
        if tensor.name not in self._values:
            fixed = not any(source.name in self._declared for source in sources(tensor))
            self._values[tensor.name] = resolve(tensor) if fixed else None
        return self._values[tensor.name]


def title(node: gs.Node) -> str:
    return f"{node.op} '{node.name}'"


def given(node: gs.Node, index: int) -> bool:
    """Whether the optional input number `index` is there."""
    return len(node.inputs) > index and not node.inputs[index].is_empty()
