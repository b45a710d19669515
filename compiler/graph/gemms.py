"""One view of a Gemm with a constant weight: y = W x + b, whatever transB, alpha and beta say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from .linear_layer import LinearLayer
from .rewriter import Rewriter
from .weights import declared_input, resolve


@dataclass(frozen=True, eq=False)
class Gemm(LinearLayer):
    """A fully connected layer; its bias is zeros where the node has none."""

    def _store(self, rewriter: Rewriter, weight: np.ndarray, bias: np.ndarray) -> None:
        """In plain form: transB = 1, alpha = beta = 1."""
        super()._store(rewriter, weight, bias)
        self.node.attrs.update(transB=1, alpha=1.0, beta=1.0)


def find_gemms(graph: gs.Graph) -> Iterator[Gemm]:
    """Every Gemm of the main graph with constant weight and bias and an input that is not transposed."""
    for node in graph.nodes:
        if node.op == "Gemm" and not node.domain and not node.attrs.get("transA", 0):
            gemm = _view(node)
            if gemm is not None and all(declared_input(each, graph) is None for each in node.inputs[1:]):
                yield gemm


def fold_factors(rewriter: Rewriter, node: gs.Node) -> None:
    """Put alpha into the weight and beta into the bias of a Gemm: some INT8 kernels leave beta out.

    A factor whose operand is computed stays.
    """
    for index, key in ((1, "alpha"), (2, "beta")):
        factor = node.attrs.get(key, 1.0)
        values = resolve(node.inputs[index]) if index < len(node.inputs) else None
        if factor != 1.0 and values is not None:
            rewriter.set_weight(node, index, (values * factor).astype(values.dtype))
            node.attrs[key] = 1.0


def _view(node: gs.Node) -> Gemm | None:
    weight = resolve(node.inputs[1])
    if weight is None or weight.dtype.kind != "f":
        return None
    rows = weight if node.attrs.get("transB", 0) else weight.T
    bias = np.zeros(len(rows), np.float32)
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        stored = resolve(node.inputs[2])
        if stored is None or stored.size not in (1, len(rows)):
            return None
        bias = node.attrs.get("beta", 1.0) * np.broadcast_to(stored.reshape(-1), bias.shape)
    scaled = rows.astype(np.float32) * np.float32(node.attrs.get("alpha", 1.0))
    return Gemm(node, scaled, bias.astype(np.float32), weight.dtype, group=1)
