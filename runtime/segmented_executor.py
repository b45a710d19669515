"""Executing a graph a segment at a time over all calibration batches, while it may still be edited further down.

A `SegmentedExecutor` holds the tensors of the live cut only: those already computed that a node not yet executed reads.
Values beyond `memory` bytes go to temporary files. Sequences of tensors are not held: what makes them is run again,
from the tensors that they are made of, where they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.comparable import container_tensors, reads
from ..compiler.pipeline.data import ACTIVATIONS, Feeds
from .disk_backed_arrays import DiskBackedArrays
from .session import Session, segment_session


class SegmentedExecutor:
    """An executor over `graph`, starting with the model inputs of every batch.

    Args:
        graph: in topological order; nodes not yet executed may be replaced between calls of `advance`.
        batches: model inputs by name, one mapping per batch.
        memory: bytes of tensors held in RAM; the rest is held in temporary files.
    """

    def __init__(self, graph: gs.Graph, batches: Iterable[Feeds], memory: int = ACTIVATIONS):
        self._graph = graph
        self._memory = memory
        self._containers = container_tensors(graph)
        self._batches = 0
        self._values: dict[str, DiskBackedArrays] = {}
        for batch in batches:
            self._batches += 1
            for name, value in batch.items():
                self._hold(self._values.setdefault(name, DiskBackedArrays()), value)
        self._shared: frozenset[str] = frozenset()
        self._done: set[int] = set()
        self._executed: list[gs.Node] = []

    def beside(self, graph: gs.Graph) -> SegmentedExecutor:
        """An executor over another graph with the same inputs, which are held once; before the first `advance`."""
        executor = SegmentedExecutor(graph, (), self._memory)
        executor._batches, executor._values = self._batches, dict(self._values)
        executor._shared = self._shared = frozenset(self._values)
        return executor

    def catch_up(self) -> Callable[[Feeds], None]:
        """Takes a further batch, and runs for it what has been run for the others, in one piece: nothing is held but
        what is held of the others. What was executed must not have been edited since."""
        names = list(self._values)
        sessions: list[tuple[list[str], Session]] = []

        def take(feeds: Feeds) -> None:
            made = [name for name in names if name not in feeds]
            if made and not sessions:
                sessions.append(self._from_inputs(feeds, made))
            for name in names:
                if name in feeds and len(self._values[name]) == self._batches:
                    self._hold(self._values[name], feeds[name])
            self._batches += 1
            for inputs, session in sessions:
                for name, value in session.run({name: feeds[name] for name in inputs}).items():
                    self._hold(self._values[name], value)

        return take

    def _from_inputs(self, feeds: Feeds, names: list[str]) -> tuple[list[str], Session]:
        """What makes the named tensors from the model's inputs, all of it executed; and which inputs it reads."""
        nodes = _makers(list({id(node): node for node in self._executed}.values()), names, feeds)
        inputs = list(dict.fromkeys(t.name for node in nodes for t in reads(node) if t.name in feeds))
        return inputs, segment_session(self._graph, nodes, {name: feeds[name] for name in inputs}, names)

    def __getitem__(self, name: str) -> DiskBackedArrays:
        """The value of a tensor, per batch; it must have been asked for in the last `advance`."""
        return self._values[name]

    def holds(self, name: str) -> bool:
        """Whether the tensor is computed, and something not yet executed reads it."""
        return name in self._values

    def produces(self, name: str) -> bool:
        """Whether the tensor is held or a node not yet executed writes it."""
        return name in self._values or any(
            tensor.name == name for node in self._graph.nodes if id(node) not in self._done for tensor in node.outputs
        )

    def plan(self, names: Iterable[str]) -> list[gs.Node]:
        """The nodes still to be executed for the named tensors, in graph order."""
        return self.missing([node for node in self._graph.nodes if id(node) not in self._done], names)

    def missing(self, nodes: Sequence[gs.Node], names: Iterable[str]) -> list[gs.Node]:
        """Those of `nodes`, of this graph or of another that shares what is held, that make the named tensors from it,
        in their order."""
        return _makers(nodes, names, self._values)

    def advance(self, names: Sequence[str], wanted_later: Iterable[str] = ()) -> None:
        """Compute the named tensors and keep them until the next call.

        `wanted_later`: names that will be asked for, even if what reads them is executed before; kept once computed.
        """
        kept = {*names, *wanted_later}
        nodes = self.plan(names)
        if nodes:
            self._execute(nodes, kept)
        needed = self._read_later() | kept
        self._values = {name: value for name, value in self._values.items() if name in needed}

    def _execute(self, nodes: list[gs.Node], names: set[str]) -> None:
        self._done.update(id(node) for node in nodes if not self._makes_container(node))
        self._executed.extend(nodes)  # keeps them alive, so that no new node takes over an id
        later = self._read_later() | names
        inputs = {t.name: self._values[t.name] for node in nodes for t in reads(node) if t.name in self._values}
        made = (tensor for node in nodes for tensor in node.outputs if not tensor.is_empty())
        outputs = [tensor.name for tensor in made if tensor.name in later and tensor.name not in self._containers]
        spent = [name for name in inputs if name not in later and name not in self._shared]
        session = segment_session(self._graph, nodes, {name: value[0] for name, value in inputs.items()}, outputs)
        self._values.update((name, DiskBackedArrays()) for name in outputs)
        for index in range(self._batches):
            for name, value in session.run({name: value[index] for name, value in inputs.items()}).items():
                self._hold(self._values[name], value)
            for name in spent:
                inputs[name].drop(index)

    def _makes_container(self, node: gs.Node) -> bool:
        return any(tensor.name in self._containers for tensor in node.outputs)

    def _read_later(self) -> set[str]:
        return {t.name for node in self._graph.nodes if id(node) not in self._done for t in reads(node)}

    def _hold(self, arrays: DiskBackedArrays, value: np.ndarray) -> None:
        held = sum(arrays.held for arrays in self._values.values())
        arrays.add(value, to_file=held + value.nbytes > self._memory)


def _makers(nodes: Sequence[gs.Node], names: Iterable[str], given: Container[str]) -> list[gs.Node]:
    """Those of `nodes` that make the named tensors from what is given, in their order."""
    pending = {tensor.name: node for node in nodes for tensor in node.outputs}
    stack, needed = [name for name in names if name not in given], set[int]()
    while stack:
        node = pending.get(stack.pop())
        if node is None or id(node) in needed:
            continue
        needed.add(id(node))
        stack.extend(tensor.name for tensor in reads(node) if tensor.name not in given)
    return [node for node in nodes if id(node) in needed]
