"""A ModelProto as rules see it: its nodes, those of subgraphs too, and what is around them."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from ..errors import CompressError
from ..graph.external import fill
from ..targets import Target
from ..targets.operators import Version
from .light import OWN, Infos, infer
from .node import Node, Scope


class Network:
    """A model and the target it is checked for.

    Attributes:
        nodes: every node, those of subgraphs after the node they belong to.
        opset: version of the default domain.
        version: of TensorRT; (0, 0) for another engine.
    """

    def __init__(
        self, proto: onnx.ModelProto, target: Target, folder: Path | None = None, plugins: frozenset[str] = frozenset()
    ):
        self.proto, self.target, self.folder, self.plugins = proto, target, folder, plugins
        self.version: Version = target.tensorrt or (0, 0)
        self.opset = max((entry.version for entry in proto.opset_import if entry.domain in OWN), default=1)
        self.nodes: list[Node] = []
        self._enter(Scope(proto.graph, ChainMap(), ChainMap(), ChainMap()), iter(infer(proto)))
        self._by_op: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            self._by_op[node.op].append(node)

    def of(self, *ops: str) -> Iterator[Node]:
        """The nodes of these operators."""
        for op in ops:
            yield from self._by_op.get(op, ())

    def values(self, tensor: onnx.TensorProto) -> np.ndarray | None:
        """The numbers of a stored tensor; None where its file is not there."""
        try:
            return numpy_helper.to_array(self._local(tensor))
        except (CompressError, ValueError, TypeError):
            return None

    def _local(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return tensor
        if self.folder is None:
            raise CompressError("its data lie in a file", tensor.name, "give the folder")
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        fill(copy, self.folder)
        return copy

    def _enter(self, scope: Scope, infos: Iterator[Infos]) -> None:
        """Collect the nodes of a graph and of those below it, in the order of `graphs`."""
        scope.infos.update(next(infos))
        scope.constants.update({tensor.name: tensor for tensor in scope.graph.initializer})
        for proto in scope.graph.node:
            node = Node(proto, scope, self)
            self.nodes.append(node)
            scope.producers.update(dict.fromkeys(proto.output, node))
            stored = node.stored
            if stored is not None:
                scope.constants[proto.output[0]] = stored
            for attribute in proto.attribute:
                if attribute.HasField("g"):
                    node.bodies[attribute.name] = scope.inner(attribute.g)
                    self._enter(node.bodies[attribute.name], infos)
