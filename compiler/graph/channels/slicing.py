"""Constants cut along their axes, through the nodes that a weight may pass on its way to its layer.

What stands between an initializer and the node that reads it (Identity, Cast, Transpose, a Q/DQ pair with one scale
per channel, arithmetic on codes) is built again around the cut initializer, so a quantized weight stays one. Readers of
the same constant that cut it in the same way share the result; one that cuts it differently gets its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from ..weights import ARITHMETIC, resolve

Cuts = Mapping[int, np.ndarray]
Key = tuple[int, tuple[tuple[int, bytes], ...]]


class Slicer:
    """Cuts constants of the graph of `rewriter`."""

    def __init__(self, rewriter: Rewriter):
        self._rewriter = rewriter
        self._made: dict[Key, tuple[gs.Tensor, gs.Tensor]] = {}
        self._passed: set[int] = set()

    def cut(self, node: gs.Node, index: int, cuts: Cuts) -> None:
        """Keep of input number `index` of `node` what the bools in `cuts` say, by axis."""
        self._rewriter.set_input(node, index, self._cut(node.inputs[index], cuts))

    def finish(self) -> None:
        """Remove the nodes that nothing reads any more."""
        for node in reversed([each for each in self._rewriter.graph.nodes if id(each) in self._passed]):
            if not any(tensor.outputs for tensor in node.outputs) and not self._is_output(node):
                self._rewriter.remove(node)

    def _cut(self, tensor: gs.Tensor, cuts: Cuts) -> gs.Tensor:
        key = (id(tensor), tuple((axis, mask.tobytes()) for axis, mask in sorted(cuts.items())))
        if key not in self._made:
            self._made[key] = (tensor, self._make(tensor, cuts))
        return self._made[key][1]

    def _make(self, tensor: gs.Tensor, cuts: Cuts) -> gs.Tensor:
        producer = None if isinstance(tensor, gs.Constant) else tensor.inputs[0]
        if producer is not None:
            self._passed.add(id(producer))
        if producer is None or producer.op == "Constant":
            values = resolve(tensor)
            assert values is not None
            return self._rewriter.constant(tensor.name, compress(values, cuts))
        return self._rebuild(producer, cuts)

    def _rebuild(self, old: gs.Node, cuts: Cuts) -> gs.Tensor:
        if old.op == "Transpose":
            rank = len(old.inputs[0].shape or ())
            perm: list[int] = list(old.attrs.get("perm") or reversed(range(rank)))
            cuts = {perm[axis]: mask for axis, mask in cuts.items()}
        if old.op in ARITHMETIC:
            inputs = [self._operand(old, tensor, cuts) for tensor in old.inputs]
        else:
            inputs = [self._cut(old.inputs[0], cuts), *(self._scale(old, t, cuts) for t in old.inputs[1:])]
        output = self._rewriter.variable(old.outputs[0].name, old.outputs[0].dtype)
        new = self._rewriter.node(old.op, inputs, [output], old.name, old.attrs, old.name)
        self._rewriter.insert_before(old, [new])
        return output

    def _scale(self, node: gs.Node, tensor: gs.Tensor, cuts: Cuts) -> gs.Tensor:
        """The scale or zero point of a Q/DQ node: cut where it runs along an axis that is cut."""
        values = None if tensor.is_empty() else resolve(tensor)
        if values is None or values.size < 2:
            return tensor
        whole = resolve(node.inputs[0])
        axis = node.attrs.get("axis", 1) % (1 if whole is None else whole.ndim)
        return self._cut(tensor, {0: cuts[axis]}) if axis in cuts else tensor

    def _operand(self, node: gs.Node, tensor: gs.Tensor, cuts: Cuts) -> gs.Tensor:
        """An operand of arithmetic: cut where it runs along an axis that is cut, and is not broadcast."""
        values, whole = resolve(tensor), resolve(node.outputs[0])
        assert values is not None
        assert whole is not None
        before = whole.ndim - values.ndim
        own = {axis - before: mask for axis, mask in cuts.items() if axis >= before and values.shape[axis - before] > 1}
        return self._cut(tensor, own) if own else tensor

    def _is_output(self, node: gs.Node) -> bool:
        return any(tensor is output for tensor in node.outputs for output in self._rewriter.graph.outputs)


def compress(values: np.ndarray, cuts: Cuts) -> np.ndarray:
    """`values` without the entries that are False, by axis."""
    for axis, mask in cuts.items():
        values = np.compress(mask, values, axis)
    return values
