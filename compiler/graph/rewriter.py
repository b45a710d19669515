"""The only place that edits a graph.

It invents fresh names, gives a node its own copy of a weight that others share, remembers which original node a new one
stands for, and leaves the node list in topological order.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs


class Rewriter:
    """Edits `graph`; `origins` (new node name -> original node name) is updated in place."""

    def __init__(self, graph: gs.Graph, origins: dict[str, str] | None = None, names: set[str] | None = None):
        self.graph = graph
        self.origins = {} if origins is None else origins
        self.edits = 0
        self._names = _names(graph) if names is None else names
        self._shared: dict[tuple[str, tuple[int, ...], bytes], gs.Constant] | None = None

    def parts(self) -> list[Rewriter]:
        """A rewriter for the graph and one for each subgraph in it; they share names and origins."""
        bodies = self.graph.subgraphs(recursive=True)
        return [self, *(Rewriter(body, self.origins, self._names) for body in bodies)]

    def fresh_name(self, base: str) -> str:
        """`base`, or `base_1`, `base_2`, ...: a name no node or tensor of the graph or its subgraphs has."""
        name, count = base, 0
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name

    def constant(self, base: str, values: np.ndarray) -> gs.Constant:
        """A new initializer; while `sharing`, one made before that is equal."""
        values = np.asarray(values, order="C")
        if self._shared is None:
            return gs.Constant(self.fresh_name(base), values)
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._shared:
            self._shared[key] = gs.Constant(self.fresh_name(base), values)
        return self._shared[key]

    @contextmanager
    def sharing(self, uses: int) -> Generator[None, None, None]:
        """Within, equal constants are made once, for so many uses of one stored weight that are written one by one."""
        outer = self._shared
        self._shared = {} if outer is None and uses > 1 else outer
        try:
            yield
        finally:
            self._shared = outer

    def variable(self, base: str, dtype: Any = None) -> gs.Variable:
        """A new intermediate tensor."""
        return gs.Variable(self.fresh_name(base), dtype=dtype)

    def node(
        self,
        op: str,
        inputs: Sequence[gs.Tensor],
        outputs: Sequence[gs.Tensor],
        base: str,
        attrs: dict[str, Any] | None = None,
        origin: str | None = None,
    ) -> gs.Node:
        """A new node, not yet in the graph; place it with `replace` or `insert_before`."""
        name = self.fresh_name(base)
        if origin is not None:
            self.origins[name] = self.origins.get(origin, origin)
        return gs.Node(op, name=name, attrs=dict(attrs or {}), inputs=list(inputs), outputs=list(outputs))

    def replace(self, old: gs.Node, new: Sequence[gs.Node]) -> None:
        """Put `new` (in order) in the place of `old`; the last new node takes over the outputs of `old`."""
        outputs = list(old.outputs)
        position = self._position(old)
        old.inputs.clear()
        old.outputs.clear()
        new[-1].outputs = outputs
        self.graph.nodes[position : position + 1] = list(new)
        self.edits += 1

    def splice(self, old: gs.Node, new: Sequence[gs.Node]) -> None:
        """Put `new` (in order) in the place of `old`, whose inputs and outputs are set free."""
        position = self._position(old)
        old.inputs.clear()
        old.outputs.clear()
        self.graph.nodes[position : position + 1] = list(new)
        self.edits += 1

    def rename(self, node: gs.Node, base: str) -> None:
        """Call the node `base`, or the next free name."""
        name = self.fresh_name(base)
        self.origins[name] = self.origins.get(node.name, node.name)
        node.name = name
        self.edits += 1

    def insert_before(self, anchor: gs.Node, new: Sequence[gs.Node]) -> None:
        """Put `new` (in order) right before `anchor` in the node list."""
        position = self._position(anchor)
        self.graph.nodes[position:position] = list(new)
        self.edits += 1

    def insert_after(self, anchor: gs.Node, new: Sequence[gs.Node]) -> None:
        """Put `new` (in order) right behind `anchor` in the node list."""
        position = self._position(anchor) + 1
        self.graph.nodes[position:position] = list(new)
        self.edits += 1

    def set_input(self, node: gs.Node, index: int, tensor: gs.Tensor) -> None:
        """Make `tensor` the input number `index` of `node`; other consumers keep the old one."""
        while len(node.inputs) <= index:
            node.inputs.append(gs.Variable.empty())
        node.inputs[index] = tensor
        self.edits += 1

    def set_weight(self, node: gs.Node, index: int, values: np.ndarray, base: str | None = None) -> None:
        """Give `node` a weight of its own as input `index`: a shared or computed one stays as it is for the others."""
        name = base or f"{node.name}.{'weight' if index == 1 else 'bias'}"
        self.set_input(node, index, self.constant(name, values))

    def set_values(self, constant: gs.Constant, values: np.ndarray) -> None:
        """Change a constant for all that read it; same shape and type."""
        constant.values = np.asarray(values, order="C")
        self.edits += 1

    def can_bypass(self, node: gs.Node) -> bool:
        """Whether `bypass` keeps every graph output under its name and with a producer."""
        source, result = node.inputs[0], node.outputs[0]
        if not self._is_output(result):
            return True
        return len(source.inputs) == 1 and not self._is_output(source)

    def bypass(self, node: gs.Node) -> None:
        """Remove a node that hands its first input on as its first output; consumers read the input instead.

        A graph output keeps its name: then the producer of the input writes it, for all other consumers of the input.
        """
        source, result = node.inputs[0], node.outputs[0]
        if not self._is_output(result):
            self._redirect(result, source)
            self.remove(node)
            return
        producer = source.inputs[0]
        self.remove(node)
        self._redirect(source, result)
        producer.outputs[_index(producer.outputs, source)] = result

    def absorb(self, node: gs.Node, into: gs.Node) -> None:
        """Remove `node`, the only reader of the first output of `into`, which then writes the output of `node`."""
        result = node.outputs[0]
        self.remove(node)
        into.outputs[0] = result

    def take_over(self, node: gs.Node, old: gs.Node) -> None:
        """Remove `old`; `node` writes its output under its name, for all that read that of either."""
        result = old.outputs[0]
        self.remove(old)
        self._redirect(node.outputs[0], result)
        node.outputs[0] = result

    def remove(self, node: gs.Node) -> None:
        """Take `node` out of the graph; its outputs must have no consumers left."""
        del self.graph.nodes[self._position(node)]
        node.inputs.clear()
        node.outputs.clear()
        self.edits += 1

    def _is_output(self, tensor: gs.Tensor) -> bool:
        return any(tensor is output for output in self.graph.outputs)

    def _redirect(self, old: gs.Tensor, new: gs.Tensor) -> None:
        """Every consumer of `old`, subgraphs included, reads `new`."""
        for consumer in list(old.outputs):
            for index, tensor in enumerate(consumer.inputs):
                if tensor is old:
                    consumer.inputs[index] = new

    def _position(self, node: gs.Node) -> int:
        return _index(self.graph.nodes, node)


def _index(items: Sequence[object], wanted: object) -> int:
    """Position by identity; nodes and tensors compare equal by content."""
    return next(i for i, item in enumerate(items) if item is wanted)


def _names(graph: gs.Graph) -> set[str]:
    names = {tensor.name for tensor in [*graph.inputs, *graph.outputs]}
    for part in [graph, *graph.subgraphs(recursive=True)]:
        for node in part.nodes:
            names.add(node.name)
            names.update(tensor.name for tensor in [*node.inputs, *node.outputs])
    return names
