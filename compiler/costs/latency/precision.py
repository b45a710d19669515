"""In what precision every layer runs and every tensor is stored.

"fp32" and "fp16" take the graph without its Q/DQ pairs; "int8" runs everything in INT8, as with a calibration cache,
and only the model's own inputs and outputs stay floating. "auto" is what TensorRT makes of explicit Q/DQ pairs in an
engine built with --int8 --fp16:

 1. A layer runs in INT8 where both its data and its weight come out of a DequantizeLinear; all else runs in FP16.
 2. A tensor is stored in INT8 where all its readers are Q, or move it on (`MOVES`, Concat) to readers that are.
 3. A node without weights runs in INT8 where it reads and writes INT8 tensors only.
"""

from __future__ import annotations

from typing import Literal

import onnx_graphsurgeon as gs

from ...graph.quantization.qdq import MOVES
from ...graph.weights import is_quantized
from .operators import LAYERS

Precision = Literal["fp32", "fp16", "int8"]
PrecisionRequest = Literal["auto", "fp32", "fp16", "int8"]
WIDTH: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
PASSES = MOVES | {"Concat"}


class Precisions:
    """The answers for one graph and one request."""

    def __init__(self, graph: gs.Graph, request: PrecisionRequest):
        self._request: PrecisionRequest = request
        self._outside = {tensor.name for tensor in [*graph.inputs, *graph.outputs]}
        self._stored: dict[str, bool] = {}

    def of(self, node: gs.Node) -> Precision:
        """The precision in which `node` computes."""
        if self._request != "auto":
            return self._request
        if node.op in LAYERS:
            return "int8" if all(is_quantized(tensor) for tensor in node.inputs[:2]) else "fp16"
        tensors = [tensor for tensor in [*node.inputs, *node.outputs] if not isinstance(tensor, gs.Constant)]
        return "int8" if all(self.width(tensor) == 1 for tensor in tensors) else "fp16"

    def width(self, tensor: gs.Tensor) -> int:
        """Bytes of one element of an activation."""
        if self._request == "int8":
            return 4 if tensor.name in self._outside else 1
        if self._request == "fp32":
            return 4
        return 1 if self._request == "auto" and self._is_int8(tensor) else 2

    def absorbs(self, quantizer: gs.Node) -> bool:
        """Whether the writer of its input quantizes, so that `quantizer` is no kernel."""
        return self._request != "auto" or self._writes_int8(quantizer.inputs[0])

    def _is_int8(self, tensor: gs.Tensor) -> bool:
        quantized = any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in tensor.inputs)
        return quantized or self._writes_int8(tensor)

    def _writes_int8(self, tensor: gs.Tensor) -> bool:
        if tensor.name not in self._stored:
            readers = list(tensor.outputs)
            private = bool(readers) and tensor.name not in self._outside
            self._stored[tensor.name] = private and all(self._quantizes(node) for node in readers)
        return self._stored[tensor.name]

    def _quantizes(self, node: gs.Node) -> bool:
        moves = node.op in PASSES and all(self._writes_int8(tensor) for tensor in node.outputs)
        return node.op == "QuantizeLinear" or moves
