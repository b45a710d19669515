"""Monotone activations with up to three straight pieces, and which of them a tensor goes through.

    f(z) = low + leak (z - low)    z < low
           z                       low <= z <= high
           high                    z > high

Relu: low 0. LeakyRelu: low 0 and its leak. Clip: low and high. The identity has no bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import onnx_graphsurgeon as gs

from .weights import resolve


@dataclass(frozen=True)
class Activation:
    """See the module docstring."""

    low: float = -inf
    high: float = inf
    leak: float = 0.0

    @property
    def linear(self) -> bool:
        return self.low == -inf and self.high == inf


def activation_after(tensor: gs.Tensor) -> Activation | None:
    """The Relu, LeakyRelu or Clip of constant bounds that reads `tensor` and nothing else does; None otherwise."""
    if len(tensor.outputs) != 1 or tensor.outputs[0].domain not in (None, "", "ai.onnx"):
        return None
    node = tensor.outputs[0]
    return BY_OPERATOR[node.op](node) if node.op in BY_OPERATOR else None


def _clip(node: gs.Node) -> Activation | None:
    low, high = _bound(node, 1, "min", -inf), _bound(node, 2, "max", inf)
    return None if low is None or high is None or low > high else Activation(low, high)


def _bound(node: gs.Node, index: int, name: str, default: float) -> float | None:
    """A bound is an attribute before opset 11, then an input."""
    if len(node.inputs) <= index or node.inputs[index].is_empty():
        return float(node.attrs.get(name, default))
    values = resolve(node.inputs[index])
    return None if values is None or values.size != 1 else float(values.ravel()[0])


def _leaky(node: gs.Node) -> Activation | None:
    leak = float(node.attrs.get("alpha", 0.01))
    return Activation(0.0, leak=leak) if leak >= 0 else None


BY_OPERATOR: dict[str, Callable[[gs.Node], Activation | None]] = {
    "Relu": lambda node: Activation(0.0),
    "LeakyRelu": _leaky,
    "Clip": _clip,
}
