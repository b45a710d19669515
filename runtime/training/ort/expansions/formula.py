"""Formulas over the inputs of a node, written as arithmetic, that become nodes.

x * clip(x / 6 + 0.5, 0, 1)      Div, Add, Clip, Mul
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from .....compiler.errors import CompressError
from .....compiler.graph.rewriter import Rewriter
from .....compiler.graph.weights import resolve

FLOAT = onnx.TensorProto.FLOAT
DTYPES: dict[type, Any] = {float: np.float32, list: np.int64}
"""Of numbers in formulas; arrays have their own."""


@dataclass(frozen=True, eq=False)
class Straight:
    """Nodes that compute an output, and their constants, in the place of what was differentiated for them."""

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    tensors: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])


@dataclass(eq=False)
class ExpansionContext:
    """A node, and the nodes that shall take its place."""

    rewriter: Rewriter
    node: gs.Node
    straight: Straight
    made: list[gs.Node] = field(default_factory=list[gs.Node])

    @property
    def opset(self) -> int:
        return self.rewriter.graph.opset

    @property
    def x(self) -> Term:
        return self.term(0)

    @property
    def result(self) -> list[int]:
        """The shape of the first output."""
        return self.shape_of(self.node.outputs[0])

    def term(self, index: int) -> Term:
        return Term(self, self.node.inputs[index])

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attrs.get(name, default)

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and not self.node.inputs[index].is_empty()

    def constant(self, index: int) -> np.ndarray | None:
        """The value of an input; None where it is left out."""
        if not self.has(index):
            return None
        values = resolve(self.node.inputs[index])
        return values if values is not None else self.refuse(f"its input {index} is not constant")

    def setting(self, name: str, index: int) -> list[int] | None:
        """What is an attribute in older opsets and the input `index` in newer ones."""
        values = self.constant(index)
        return self.get(name) if values is None else np.atleast_1d(values).tolist()

    def shape_of(self, tensor: gs.Tensor) -> list[int]:
        shape = tensor.shape
        if shape is None or not all(isinstance(dim, (int, np.integer)) for dim in shape):
            self.refuse(f"the shape of {tensor.name} is not known")
        return [int(dim) for dim in shape if dim is not None]

    def refuse(self, why: str) -> NoReturn:
        raise CompressError(f"onnxruntime-training has no gradient of this {self.node.op}: {why}", *self._place())

    def _place(self) -> tuple[str, str]:
        return self.node.name, "engine=torch"

    def apply(self, op: str, inputs: Sequence[Any], outputs: int = 1, **attrs: Any) -> Term:
        """A new node; inputs are terms, numbers, arrays, or None for one left out. Its first output."""
        base = f"{self.node.name}/{op}"
        results = [self.rewriter.variable(base) for _ in range(outputs)]
        self.made.append(self.rewriter.node(op, [self._tensor(value) for value in inputs], results, base, attrs))
        return Term(self, results[0])

    def _tensor(self, value: Any) -> gs.Tensor:
        if isinstance(value, Term):
            return value.tensor
        if value is None:
            return gs.Variable.empty()
        dtype = next((dtype for kind, dtype in DTYPES.items() if isinstance(value, kind)), None)
        return self.rewriter.constant(f"{self.node.name}/constant", np.asarray(value, dtype))


@dataclass(frozen=True, eq=False)
class Term:
    """A tensor of a formula."""

    ctx: ExpansionContext
    tensor: gs.Tensor

    @property
    def shape(self) -> list[int]:
        """Known of inputs of the node only."""
        return self.ctx.shape_of(self.tensor)

    def apply(self, op: str, *others: Any, outputs: int = 1, **attrs: Any) -> Term:
        return self.ctx.apply(op, [self, *others], outputs, **attrs)

    def __add__(self, other: Term | float) -> Term:
        return self.apply("Add", other)

    def __sub__(self, other: Term | float) -> Term:
        return self.apply("Sub", other)

    def __mul__(self, other: Term | float) -> Term:
        return self.apply("Mul", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self.apply("Div", other)

    def __neg__(self) -> Term:
        return self.apply("Neg")

    def __abs__(self) -> Term:
        return self.apply("Abs")

    def reshape(self, shape: Sequence[int]) -> Term:
        return self.apply("Reshape", list(shape))

    def transpose(self, order: Sequence[int]) -> Term:
        return self.apply("Transpose", perm=list(order))

    def pick(self, axis: int, indices: np.ndarray) -> Term:
        """The given positions along an axis."""
        return self.apply("Gather", np.asarray(indices, np.int64), axis=axis)

    def total(self, axes: Sequence[int] | None, keepdims: int = 1) -> Term:
        """The sum over axes, over all if None."""
        return self.apply("ReduceSum", None if axes is None else list(axes), keepdims=keepdims)


Expansion = Callable[[ExpansionContext], Term | Sequence[Term] | None]
"""From a ctx to the terms of its outputs; None leaves the node (which the rule may have edited) where it is."""
