"""Gemms whose results stay in float, as onnxruntime makes integer kernels of them: with their biases in INT32.

A Gemm between Q/DQ pairs gets them from onnxruntime itself. One whose results nothing rounds, a classifier at the end,
stays a float kernel otherwise, and its weight is dequantized at every run:

    y = DQ(x) DQ(W)^T + b        becomes        y = DQ(x) DQ(W)^T + DQ(B),    B = b / (S_x S_w)

where b is in whole steps of S_x S_w (`quantization.biases`), so that nothing changes. A classifier of 1,280 x 1,000
takes 0.075 ms so, and 0.255 with its bias in float.

Source: onnxruntime, `core/optimizer/qdq_transformer/selectors_actions/qdq_selectors.cc` (GemmNodeGroupSelector).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.weights import resolve
from ...compiler.targets import Target
from .base import Edit, Pattern

PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}
LARGEST, NEAR = 2**31, 1e-6


def _store_integers(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for part in rewriter.parts():
        for node in [node for node in part.graph.nodes if _stays_in_float(node)]:
            step = _step(node)
            codes = None if step is None else _codes(node, step)
            if step is None or codes is None:
                continue
            inputs = [
                part.constant(f"{node.name}.bias.int32", codes),
                part.constant(f"{node.name}.bias.scale", step),
                part.constant(f"{node.name}.bias.zero_point", np.zeros(step.shape, np.int32)),
            ]
            bias = part.variable(f"{node.name}.bias.dq", np.float32)
            attrs = {"axis": 0} if step.ndim else {}
            pair = part.node("DequantizeLinear", inputs, [bias], f"{node.name}.bias.DequantizeLinear", attrs, node.name)
            part.insert_before(node, [pair])
            part.set_input(node, 2, bias)
            yield node.name, "bias stored in INT32"


def _stays_in_float(node: gs.Node) -> bool:
    """A Gemm of two dequantized operands, with a bias, whose results nothing rounds."""
    if node.op != "Gemm" or node.domain or len(node.inputs) < 3:
        return False
    plain = all(node.attrs.get(name, value) == value for name, value in PLAIN.items())
    return plain and not any(reader.op == "QuantizeLinear" for reader in node.outputs[0].outputs)


def _step(node: gs.Node) -> np.ndarray | None:
    """S_x S_w, () or (N,) in float32, where both operands are dequantized, the weight as a whole or by its outputs."""
    makers = [tensor.inputs[0] if tensor.inputs else None for tensor in node.inputs[:2]]
    scales = [None if each is None or each.op != "DequantizeLinear" else resolve(each.inputs[1]) for each in makers]
    if scales[0] is None or scales[1] is None or makers[1] is None or scales[0].size != 1:
        return None
    outputs = 0 if node.attrs.get("transB", 0) else 1
    if scales[1].size > 1 and makers[1].attrs.get("axis", 1) != outputs:
        return None
    return (scales[0].reshape(()) * scales[1].squeeze()).astype(np.float32)


def _codes(node: gs.Node, step: np.ndarray) -> np.ndarray | None:
    """(N,) INT32, where the bias is in whole steps."""
    bias = resolve(node.inputs[2])
    if bias is None or bias.dtype != np.float32 or bias.ndim != 1 or step.shape not in ((), bias.shape):
        return None
    exact = bias.astype(np.float64) / step
    codes = np.rint(exact)
    near = np.abs(exact - codes) <= NEAR * np.maximum(1e3, np.abs(codes))
    return codes.astype(np.int32) if near.all() and np.abs(codes).max(initial=0) < LARGEST else None


def _is_onnxruntime(target: Target) -> bool:
    return target.tensorrt is None


GEMMS = (Pattern(_is_onnxruntime, _store_integers),)
