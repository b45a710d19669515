"""A ModelProto as rules see it: its nodes, those of subgraphs too, and what is around them."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Iterator
from pathlib import Path

import onnx

from ..graph.inference import as_input, inferred
from ..graph.normalize import ONNX_DOMAINS, graphs
from ..graph.weightless import weightless_copy
from ..targets import Target
from .context import LintContext
from .node import Node, Scope, TensorTypes


class Network:
    """A model and the target it is checked for; `nodes`: every node, those of subgraphs after the node they belong to.

    Args:
        folder, plugins: see `LintContext`.
    """

    def __init__(
        self, proto: onnx.ModelProto, target: Target, folder: Path | None = None, plugins: frozenset[str] = frozenset()
    ):
        opset = max((entry.version for entry in proto.opset_import if entry.domain in ONNX_DOMAINS), default=1)
        self.proto, self.context = proto, LintContext(target, opset, folder, plugins)
        self.nodes: list[Node] = []
        self._enter(Scope(proto.graph, ChainMap(), ChainMap(), ChainMap()), iter(infer_types(proto)))
        self._by_op: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            self._by_op[node.op].append(node)

    def of(self, *ops: str) -> Iterator[Node]:
        """The nodes of these operators."""
        for op in ops:
            yield from self._by_op.get(op, ())

    def _enter(self, scope: Scope, types: Iterator[TensorTypes]) -> None:
        """Collect the nodes of a graph and of those below it, in the order of `graphs`."""
        scope.types.update(next(types))
        scope.constants.update({tensor.name: tensor for tensor in scope.graph.initializer})
        for proto in scope.graph.node:
            node = Node(proto, scope, self.context)
            self.nodes.append(node)
            scope.producers.update(dict.fromkeys(proto.output, node))
            stored = node.stored
            if stored is not None:
                scope.constants[proto.output[0]] = stored
            for attribute in proto.attribute:
                if attribute.HasField("g"):
                    node.bodies[attribute.name] = scope.inner(attribute.g)
                    self._enter(node.bodies[attribute.name], types)


def infer_types(proto: onnx.ModelProto) -> list[TensorTypes]:
    """Tensor name -> type and shape, for each graph in the order of `graphs`."""
    return [_types(part) for part in graphs(inferred(weightless_copy(proto)).graph)]


def _types(graph: onnx.GraphProto) -> TensorTypes:
    infos = [*graph.output, *graph.value_info, *graph.input]
    types = {info.name: info.type.tensor_type for info in infos if info.type.HasField("tensor_type")}
    types.update({tensor.name: as_input(tensor.name, tensor).type.tensor_type for tensor in graph.initializer})
    return types
