"""Tensors that all ways to another one lead through (Prosser, 1959)."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from .comparable import reads


class DominatorTree:
    """By tensor that depends on an input, the nearest tensor that all ways from the inputs to it lead through.

    `parents`: "" is the root, which stands for all inputs together.
    """

    def __init__(self, graph: gs.Graph):
        self.parents: dict[str, str] = {tensor.name: "" for tensor in graph.inputs if isinstance(tensor, gs.Variable)}
        self._depths = dict.fromkeys(self.parents, 1) | {"": 0}
        for node in graph.nodes:
            names = {tensor.name for tensor in reads(node) if tensor.name in self.parents}
            if names:
                self._add(node, self._common(names))

    def above(self, name: str) -> Iterator[str]:
        """The dominators of a tensor, the nearest first."""
        name = self.parents[name]
        while name:
            yield name
            name = self.parents[name]

    def _add(self, node: gs.Node, parent: str) -> None:
        for tensor in node.outputs:
            self.parents[tensor.name], self._depths[tensor.name] = parent, self._depths[parent] + 1

    def _common(self, names: set[str]) -> str:
        """The lowest common ancestor, the tensors themselves included."""
        first, *rest = sorted(names)
        for other in rest:
            while first != other:
                if self._depths[first] >= self._depths[other]:
                    first = self.parents[first]
                else:
                    other = self.parents[other]
        return first
