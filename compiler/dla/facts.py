"""What the checks ask about a node, and the reasons that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..graph.shapes import Shapes
from ..graph.weights import resolve

DlaPrecision = Literal["fp16", "int8"]


@dataclass(frozen=True, eq=False)
class Facts:
    """A node, the shapes around it, and the precision in which it would run."""

    node: gs.Node
    shapes: Shapes
    precision: DlaPrecision

    @property
    def activations(self) -> list[gs.Tensor]:
        """The first output, and the inputs that are not constant."""
        inputs = [tensor for tensor in self.node.inputs if not tensor.is_empty() and resolve(tensor) is None]
        return [*inputs, self.node.outputs[0]]

    @property
    def input(self) -> tuple[int, ...]:
        return self.shapes.get(self.node.inputs[0].name, ())

    @property
    def output(self) -> tuple[int, ...]:
        return self.shapes.get(self.node.outputs[0].name, ())

    @property
    def weight(self) -> tuple[int, ...]:
        """The shape of the second input; () where it is not constant."""
        values = self.constant(1)
        return () if values is None else values.shape

    def constant(self, index: int) -> np.ndarray | None:
        """The value of an input; None where it is absent or computed."""
        return resolve(self.node.inputs[index]) if self.given(index) else None

    def given(self, index: int) -> bool:
        return index < len(self.node.inputs) and not self.node.inputs[index].is_empty()

    def attribute(self, name: str, default: int) -> int:
        return int(self.node.attrs.get(name, default))

    def pair(self, name: str, default: int) -> list[int]:
        """An attribute with a value for each of the two spatial dimensions."""
        return [int(value) for value in self.node.attrs.get(name) or [default, default]]

    def pads(self, extent: Sequence[int], strides: Sequence[int]) -> list[int]:
        """Top, left, bottom, right; automatic padding resolved for a window of `extent`."""
        mode = self.node.attrs.get("auto_pad", "NOTSET")
        if mode == "NOTSET":
            return [int(value) for value in self.node.attrs.get("pads") or [0] * 4]
        if mode == "VALID":
            return [0] * 4
        sizes = list(zip(self.input[2:], extent, strides, strict=True))
        total = [max(0, (-(-size // stride) - 1) * stride + reach - size) for size, reach, stride in sizes]
        small, large = [value // 2 for value in total], [value - value // 2 for value in total]
        return large + small if mode == "SAME_LOWER" else small + large


def within(what: str, values: Sequence[int], low: int, high: int) -> str | None:
    """`what` and its values, where one of them is not in [low, high]."""
    if all(low <= value <= high for value in values):
        return None
    expected = f"{low}" if low == high else f"{low} to {high}"
    return f"{what} {' x '.join(map(str, values))}, expected {expected}"


def first(*reasons: str | None) -> str | None:
    """The first reason that there is."""
    return next((reason for reason in reasons if reason is not None), None)
