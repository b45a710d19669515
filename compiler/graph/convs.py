"""One view of a Conv node, whatever way its weight is stored.

y[n, p] = b[n] + sum_{c, k} W[n, c, k] x[c, stride * p + dilation * k - pad]        per group of C/g input channels
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .linear_layer import LinearLayer
from .weights import declared_input, resolve, sources

RUNTIME = "com.microsoft"
BLOCKED = "com.microsoft.nchwc"
WEIGHTS: dict[tuple[str, str], tuple[int, int]] = {
    ("", "Conv"): (1, 2),
    ("", "ConvInteger"): (1, 4),
    ("", "QLinearConv"): (3, 8),
    (RUNTIME, "FusedConv"): (1, 2),
    (RUNTIME, "NhwcFusedConv"): (1, 2),
    (RUNTIME, "NhwcConv"): (1, 2),
    (RUNTIME, "QLinearConv"): (3, 8),
    (BLOCKED, "Conv"): (1, 2),
}
"""Domain and operator of every kind of Conv -> which inputs are the weight (N, C/g, k...) and the bias."""


@dataclass(frozen=True, eq=False)
class Conv(LinearLayer):
    """A Conv whose weight is known.

    Attributes:
        strides, dilations: one per spatial dimension.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.weight.shape[2:]

    @property
    def channels(self) -> int:
        """C, the number of input channels."""
        return self.weight.shape[1] * self.group

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it leaves the graph around it behind."""
        known = (self.weight, self.bias, self.dtype, self.group, self.strides, self.dilations)
        return _alone, (self.name, dict(self.node.attrs), self.input.name, self.output.name, known)

    def pads(self, spatial: tuple[int, ...]) -> list[tuple[int, int]]:
        """(begin, end) per spatial dimension for an input of size `spatial`, auto_pad resolved (ONNX Conv)."""
        mode = self.node.attrs.get("auto_pad", "NOTSET")
        rank = len(self.kernel)
        if mode == "VALID":
            return [(0, 0)] * rank
        if mode == "NOTSET":
            flat = self.node.attrs.get("pads") or [0] * (2 * rank)
            return [(int(flat[i]), int(flat[i + rank])) for i in range(rank)]
        return [self._same(i, size, lower=mode == "SAME_LOWER") for i, size in enumerate(spatial)]

    def _same(self, axis: int, size: int, lower: bool) -> tuple[int, int]:
        extent = self.dilations[axis] * (self.kernel[axis] - 1) + 1
        steps = -(-size // self.strides[axis])
        total = max(0, (steps - 1) * self.strides[axis] + extent - size)
        small, large = total // 2, total - total // 2
        return (large, small) if lower else (small, large)


def _alone(name: str, attrs: dict[str, Any], source: str, target: str, known: tuple[Any, ...]) -> Conv:
    """A Conv without a graph."""
    return Conv(gs.Node("Conv", name, attrs, [gs.Variable(source)], [gs.Variable(target)]), *known)


def find_convs(graph: gs.Graph) -> Iterator[Conv]:
    """Every Conv of the main graph whose weight is constant, in graph order; `unsupported_convs` names the others."""
    for node in graph.nodes:
        if is_conv(node) and _unsupported_reason(node, graph) is None:
            conv = view(node)
            if conv is not None:
                yield conv


def unsupported_convs(graph: gs.Graph) -> Iterator[tuple[str, str]]:
    """The name of every Conv that `find_convs` leaves out, subgraphs included, and why."""
    for node in graph.nodes:
        reason = _unsupported_reason(node, graph) if is_conv(node) else _foreign(node)
        if reason is not None:
            yield node.name, reason
        for subgraph in node.subgraphs(recursive=True):
            for inner in subgraph.nodes:
                if is_conv(inner):
                    yield inner.name, f"inside a subgraph of {node.op} '{node.name}'"


def is_conv(node: gs.Node) -> bool:
    return node.op == "Conv" and not node.domain


def view(node: gs.Node) -> Conv | None:
    """The Conv that `node` computes, or None where its weight or bias is not constant."""
    weight = resolve(node.inputs[1])
    if weight is None or weight.dtype.kind != "f":
        return None
    bias = resolve(node.inputs[2]) if has_bias(node) else None
    if has_bias(node) and bias is None:
        return None
    rank = weight.ndim - 2
    return Conv(
        node=node,
        weight=weight.astype(np.float32, copy=False),
        bias=None if bias is None else bias.astype(np.float32, copy=False),
        dtype=weight.dtype,
        group=int(node.attrs.get("group", 1)),
        strides=tuple(node.attrs.get("strides") or [1] * rank),
        dilations=tuple(node.attrs.get("dilations") or [1] * rank),
    )


def has_bias(node: gs.Node) -> bool:
    return len(node.inputs) > 2 and not node.inputs[2].is_empty()


def _foreign(node: gs.Node) -> str | None:
    """Of what kind a Conv is that has another operator than Conv; None for what is no Conv."""
    if (node.domain or "", node.op) not in WEIGHTS:
        return None
    kind = f"made by onnxruntime ({node.op}); the exported file has the original"
    return kind if node.domain else f"in integers ({node.op})"


def _unsupported_reason(node: gs.Node, graph: gs.Graph) -> str | None:
    """Why `view` does not see the Conv `node`, or must not: an input with a default value can change."""
    parts = {"weight": node.inputs[1], **({"bias": node.inputs[2]} if has_bias(node) else {})}
    for part, tensor in parts.items():
        found, declared = list(sources(tensor)), declared_input(tensor, graph)
        if declared is not None:
            return f"its {part} is the model input '{declared.name}'"
        values = resolve(tensor)
        if values is None and all(isinstance(source, gs.Constant) for source in found):
            return f"its {part} is of a type or form that cannot be read"
        if values is None:
            producer = next((source.inputs[0] for source in found if len(source.inputs) == 1), None)
            return f"its {part} is computed" + (f" by {producer.op} '{producer.name}'" if producer else "")
        if values.dtype.kind != "f":
            return f"its {part} is of type {values.dtype}"
        if part == "weight" and values.ndim < 3:
            return f"its weight has {values.ndim} dimensions, and so no kernel"
    return None
