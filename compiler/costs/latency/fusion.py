"""A graph as the kernels that TensorRT 8.5 makes of it.

 1. What depends on constants and shapes only is computed when the engine is built: no kernel.
 2. Conv, ConvTranspose, Gemm and MatMul start a kernel. It takes in, in this order and each only where nobody else
    reads the tensor between: arithmetic with a constant and BatchNormalization (Scale), one Add with another tensor of
    the same shape, one activation of `FUSED_ACTIVATIONS`.
 3. Two layers in a row are two kernels, but a depthwise Conv and the 1x1 Conv after it are one in INT8 (DepSepConv).
 4. A constant Pad joins the Conv that reads it.
 5. Pointwise nodes in a chain of one shape are one kernel.
 6. Pools are kernels; so is a ReduceMean.
 7. Reshape, Flatten, Squeeze and the like only rename a tensor, and so does a Transpose that moves dimensions of size 1
    only. Another Transpose is a copy; two in a row are one.
 8. A kernel writes its output where the Concat over channels wants it. What stands in another Concat already, or is a
    model input, is copied, and so is everything for a Concat over another axis: one kernel a Concat.
 9. A Q is absorbed by the kernel that writes its input, and a DQ by those that read its output. A Q whose input others
    read too, or that is a model input, is a kernel.
10. Everything else is a kernel per node; Slice, Split and Gather read only what they write.

Sources: TensorRT developer guide 8.5, "Types of fusions" (2 to 7) and "Q/DQ placement" (9); the builder's log lines
"Eliminating concatenation", "Retargeting" and "Generating copy" (8). Rule 10 is a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum

import onnx_graphsurgeon as gs

from ...graph.shapes import Shapes
from .operators import FUSED_ACTIVATIONS, LAYERS, POINTWISE, POOLS, RENAMES, SCALES, SELECTS
from .precision import Precisions


class Stage(IntEnum):
    """What a layer's kernel has taken in last; after that it takes in only what comes later."""

    SCALE = 0
    ADD = 1
    ACTIVATION = 2


@dataclass(eq=False)
class FusionGroup:
    """The nodes of one kernel.

    Attributes:
        kind: "layer", "pointwise", "pool", "copy" or "other".
        nodes: in graph order.
        moved: of a copy, the tensors that are read and written.
        stage: of a layer, what it has taken in.
    """

    kind: str
    nodes: list[gs.Node]
    moved: tuple[gs.Tensor, ...] = ()
    stage: Stage = Stage.SCALE

    @property
    def layers(self) -> list[gs.Node]:
        return [node for node in self.nodes if node.op in LAYERS]

    @property
    def core(self) -> gs.Node:
        """The node that the kernel is named after."""
        return (self.layers or self.nodes)[-1 if self.layers else 0]


def fuse(graph: gs.Graph, shapes: Shapes, precisions: Precisions) -> list[FusionGroup]:
    """The kernels of the main graph, in the order in which they run; the rules are in the module docstring."""
    fuser = _Fuser(graph, shapes, precisions)
    for node in graph.nodes:
        fuser.place(node)
    return fuser.groups


class _Fuser:
    def __init__(self, graph: gs.Graph, shapes: Shapes, precisions: Precisions):
        self.groups: list[FusionGroup] = []
        self._shapes, self._precisions = shapes, precisions
        self._outputs = {tensor.name for tensor in graph.outputs}
        self._constant: set[str] = {""}
        self._producer: dict[str, FusionGroup] = {}
        self._retargeted: set[str] = set()
        self._roots: dict[str, gs.Tensor] = {}
        self._handlers: list[tuple[Collection[str], Callable[[gs.Node], None]]] = [
            (LAYERS, self._layer),
            (POINTWISE, self._pointwise),
            (POOLS, self._pool),
            (RENAMES, self._rename),
            (("QuantizeLinear",), self._quantize),
            (("Transpose",), self._transpose),
            (("Concat",), self._concat),
            (SELECTS, self._select),
        ]

    def place(self, node: gs.Node) -> None:
        if node.op in ("Shape", "Size") or all(self._is_constant(tensor) for tensor in node.inputs):
            self._constant.update(tensor.name for tensor in node.outputs)
            return
        handlers = (handler for ops, handler in self._handlers if node.op in ops and not node.domain)
        next(handlers, self._other)(node)

    def _new(self, kind: str, node: gs.Node, *moved: gs.Tensor) -> FusionGroup:
        group = FusionGroup(kind, [node], moved)
        self.groups.append(group)
        self._producer.update({tensor.name: group for tensor in node.outputs})
        return group

    def _join(self, group: FusionGroup, node: gs.Node) -> None:
        """The kernel now runs where its last node stands: all that it reads is there by then."""
        group.nodes.append(node)
        self.groups.remove(group)
        self.groups.append(group)
        self._producer.update({tensor.name: group for tensor in node.outputs})

    def _layer(self, node: gs.Node) -> None:
        before = self._private_producer(node.inputs[0])
        if before is not None and self._separable(before, node):
            self._join(before, node)
            before.stage = Stage.SCALE
            return
        group = self._new("layer", node)
        if before is not None and before.core.op == "Pad" and node.op == "Conv":
            self.groups.remove(before)
            group.nodes.insert(0, before.core)

    def _separable(self, before: FusionGroup, node: gs.Node) -> bool:
        """A depthwise Conv and a 1x1 Conv, both in INT8."""
        pair = [before.core, node]
        if any(conv.op != "Conv" or self._precisions.of(conv) != "int8" for conv in pair):
            return False
        groups = [int(conv.attrs.get("group", 1)) for conv in pair]
        channels = self._shapes.get(node.inputs[0].name, (0, 0))[1]
        kernel = self._shapes.get(node.inputs[1].name, ())[2:]
        return groups == [channels, 1] and channels > 1 and set(kernel) == {1}

    def _pointwise(self, node: gs.Node) -> None:
        for tensor in node.inputs:
            group = self._private_producer(tensor) if tensor.name not in self._roots else None
            if group is not None and self._takes(group, node, tensor):
                self._join(group, node)
                return
        self._new("pointwise", node)

    def _takes(self, group: FusionGroup, node: gs.Node, tensor: gs.Tensor) -> bool:
        if self._shapes.get(tensor.name) != self._shapes.get(node.outputs[0].name):
            return False
        if group.kind != "layer":
            return group.kind == "pointwise"
        stage = self._stage(node)
        if stage is None or stage < group.stage or stage == group.stage != Stage.SCALE:
            return False
        group.stage = stage
        return True

    def _stage(self, node: gs.Node) -> Stage | None:
        if node.op in FUSED_ACTIVATIONS:
            return Stage.ACTIVATION
        variable = [tensor for tensor in node.inputs if not self._is_constant(tensor)]
        if node.op in SCALES and len(variable) == 1:
            return Stage.SCALE
        same = len({self._shapes.get(tensor.name) for tensor in variable}) == 1
        return Stage.ADD if node.op == "Add" and same else None

    def _pool(self, node: gs.Node) -> None:
        self._new("pool", node)

    def _other(self, node: gs.Node) -> None:
        self._new("other", node)

    def _rename(self, node: gs.Node) -> None:
        self._roots[node.outputs[0].name] = self._root(node.inputs[0])

    def _quantize(self, node: gs.Node) -> None:
        if self._precisions.absorbs(node):
            self._rename(node)
        else:
            self._new("copy", node, node.inputs[0])

    def _transpose(self, node: gs.Node) -> None:
        shape = self._shapes.get(node.inputs[0].name, ())
        order = [axis for axis in node.attrs.get("perm", range(len(shape))[::-1]) if shape[axis : axis + 1] != (1,)]
        before = self._private_producer(node.inputs[0])
        if order == sorted(order):
            self._rename(node)
        elif before is not None and before.core.op == "Transpose":
            self._join(before, node)
        else:
            self._new("copy", node, node.outputs[0])

    def _concat(self, node: gs.Node) -> None:
        copied = [tensor for tensor in node.inputs if not self._retargets(node, self._root(tensor).name)]
        if copied:
            self._new("copy", node, *copied)
        else:
            self._producer[node.outputs[0].name] = FusionGroup("copy", [node])

    def _retargets(self, concat: gs.Node, name: str) -> bool:
        """The kernel that writes the tensor can write it into `concat`; the first Concat gets it."""
        if concat.attrs.get("axis") != 1 or name not in self._producer or name in self._retargeted:
            return False
        self._retargeted.add(name)
        return True

    def _select(self, node: gs.Node) -> None:
        for tensor in node.outputs:
            self._new("copy", node, tensor)

    def _root(self, tensor: gs.Tensor) -> gs.Tensor:
        return self._roots.get(tensor.name, tensor)

    def _is_constant(self, tensor: gs.Tensor) -> bool:
        return isinstance(tensor, gs.Constant) or tensor.name in self._constant

    def _private_producer(self, tensor: gs.Tensor) -> FusionGroup | None:
        """The kernel that writes `tensor`, through renaming nodes, where nobody else reads it on the way."""
        while True:
            if len({id(reader) for reader in tensor.outputs}) != 1 or tensor.name in self._outputs:
                return None
            if tensor.name not in self._roots:
                return self._producer.get(tensor.name)
            tensor = tensor.inputs[0].inputs[0]
