"""A node as its operator sees it when the program is compiled.

Shapes are fixed, so that the values on which a node's *form* depends (axes, pads, target shapes) are known by then:
they were attributes in one version of an operator and are inputs in another, and `setting` reads either place.
"""

# pyright: reportMissingModuleSource=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx
import torch

from ....compiler.errors import CompressError

Tensor = Any
TorchKernel = Callable[..., Any]
"""From the node's inputs (None for those left out) to its output, or a sequence of them if it has several."""


@dataclass(frozen=True, eq=False)
class NodeContext:
    """One node.

    Attributes:
        node, opset: what the model says.
        inputs: example values; None for inputs left out in the middle.
        known: which of them are the same in every step.
    """

    node: onnx.NodeProto
    opset: int
    inputs: Sequence[Tensor]
    known: Sequence[bool]

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute; strings decoded, tensors as NumPy arrays."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                return _plain(onnx.helper.get_attribute_value(attribute))
        return default

    def text(self, name: str, default: str) -> str:
        return str(self.get(name, default))

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def constant(self, index: int) -> np.ndarray:
        """The value of an input that has to be known now."""
        if not self.known[index]:
            self.refuse(f"input {self.node.input[index]} is computed from the data", "make it a constant")
        return self.inputs[index].cpu().numpy()

    def setting(self, name: str, index: int, default: Any = None) -> Any:
        """The input at `index` as a list or number, else the attribute `name`."""
        return self.constant(index).tolist() if self.has(index) else self.get(name, default)

    def rank(self, index: int = 0) -> int:
        return self.inputs[index].dim()

    def shape(self, index: int = 0) -> list[int]:
        return list(self.inputs[index].shape)

    def axis(self, default: int = 0) -> int:
        return int(self.get("axis", default)) % max(self.rank(), 1)

    def only(self, outputs: int) -> None:
        """Refuse a node that uses more outputs than that."""
        if any(self.node.output[outputs:]):
            self.refuse(f"its output {outputs + 1} is not supported")

    def like(self, values: Any) -> Tensor:
        """An int64 tensor on the inputs' device."""
        return torch.as_tensor(np.asarray(values, np.int64), device=self.inputs[0].device)

    def refuse(self, what: str, fix: str = "engine=ort") -> NoReturn:
        raise CompressError(what, place(self.node), fix)


def place(node: onnx.NodeProto) -> str:
    """How messages name a node."""
    return f"{node.op_type} {node.name or next(iter(node.output), '')}".strip()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
