"""The Q/DQ nodes themselves.

    activation           x -> QuantizeLinear -> DequantizeLinear
    weight, float-qdq    FP32 initializer -> QuantizeLinear -> DequantizeLinear
    weight, int8-dq      INT8 initializer -> DequantizeLinear

Every node has three inputs; its zero point says the type of the codes. One that is per channel writes `axis`, because
engines disagree about its default (ONNX: 1, onnx-tensorrt 8.5: 0).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from .qdq import QuantizedTensor

WeightForm = Literal["float-qdq", "int8-dq"]
SYMMETRIC = np.int8(0)


@dataclass(frozen=True)
class Grid:
    """What an activation is rounded to: scale (code - zero), the codes being all that the type of `zero` has."""

    scale: float
    zero: np.int8 | np.uint8 = SYMMETRIC

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value that it has."""
        kind, zero = np.iinfo(self.zero.dtype), int(self.zero)
        return (kind.min - zero) * self.scale, (kind.max - zero) * self.scale

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Of `x`, in the type of `zero`."""
        kind, zero = np.iinfo(self.zero.dtype), int(self.zero)
        steps = np.rint(x / np.float32(self.scale))
        return (np.clip(steps, kind.min - zero, kind.max - zero, out=steps) + np.float32(zero)).astype(self.zero.dtype)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """What `codes` stand for, float32, in memory in the order of their axes."""
        values = codes.astype(np.float32, "C")
        values -= np.float32(self.zero)
        values *= np.float32(self.scale)
        return values


def quantize_activation(rewriter: Rewriter, entry: QuantizedTensor, grid: Grid) -> None:
    """Put a pair on the entry's tensor and let its slots read the result."""
    name = entry.tensor.name
    parameters = pair_inputs(rewriter, name, np.float32(grid.scale), grid.zero)
    quantized, result = rewriter.variable(f"{name}.q", grid.zero.dtype), rewriter.variable(f"{name}.dq", np.float32)
    nodes = [
        rewriter.node("QuantizeLinear", [entry.tensor, *parameters], [quantized], f"{name}.QuantizeLinear"),
        rewriter.node("DequantizeLinear", [quantized, *parameters], [result], f"{name}.DequantizeLinear"),
    ]
    rewriter.insert_before(first(rewriter.graph, entry), nodes)
    connect(rewriter, entry, result)


def quantize_weight(
    rewriter: Rewriter, entry: QuantizedTensor, codes: np.ndarray, scale: np.ndarray, axis: int, form: WeightForm
) -> None:
    """Let the slots read `codes` (int8, in the weight's shape) times `scale` (one per slice of `axis`, or one)."""
    node = entry.slots[0][0]
    name = f"{node.name}.weight"
    parameters = pair_inputs(rewriter, name, scale.astype(np.float32), SYMMETRIC)
    attrs: dict[str, Any] = {"axis": axis} if scale.ndim else {}
    result = rewriter.variable(f"{name}.dq", np.float32)
    source: gs.Tensor
    nodes: list[gs.Node] = []
    if form == "int8-dq":
        source = rewriter.constant(name, codes)
    else:
        stored = rewriter.constant(name, codes.astype(np.float32) * along(scale, axis, codes.ndim))
        source = rewriter.variable(f"{name}.q", np.int8)
        nodes.append(
            rewriter.node("QuantizeLinear", [stored, *parameters], [source], f"{name}.QuantizeLinear", attrs, node.name)
        )
    nodes.append(
        rewriter.node("DequantizeLinear", [source, *parameters], [result], f"{name}.DequantizeLinear", attrs, node.name)
    )
    rewriter.insert_before(first(rewriter.graph, entry), nodes)
    write_kernel_shapes((layer for layer, _ in entry.slots), codes.shape)
    connect(rewriter, entry, result)


def write_kernel_shapes(layers: Iterable[gs.Node], shape: tuple[int, ...]) -> None:
    """Say in the Convs among `layers` what engines no longer see in the weight, of this shape."""
    for layer in layers:
        if layer.op == "Conv":
            layer.attrs.setdefault("kernel_shape", list(shape[2:]))


def along(scale: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """`scale` in a shape that broadcasts over a weight of `rank` dimensions."""
    shape = [1] * rank
    if scale.ndim:
        shape[axis] = scale.size
    return scale.astype(np.float32).reshape(shape)


def pair_inputs(rewriter: Rewriter, name: str, scale: Any, zero: np.int8 | np.uint8) -> list[gs.Tensor]:
    """Scale and zero point, as Q and DQ take them."""
    values = np.asarray(scale, np.float32)
    return [
        gs.Constant(rewriter.fresh_name(f"{name}.{part}"), array)
        for part, array in (("scale", values), ("zero_point", np.full(values.shape, zero)))
    ]


def first(graph: gs.Graph, entry: QuantizedTensor) -> gs.Node:
    """The first node that reads the entry's pair."""
    slots = {id(node) for node, _ in entry.slots}
    return next(node for node in graph.nodes if id(node) in slots)


def connect(rewriter: Rewriter, entry: QuantizedTensor, result: gs.Tensor) -> None:
    """Let the entry's slots read `result`."""
    for node, index in entry.slots:
        rewriter.set_input(node, index, result)
