"""ONNX shape inference of models as they come: one that contradicts itself stays as it is, for the checker to name."""

from __future__ import annotations

import onnx


def inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with the types and shapes that the rules of ONNX give its tensors, or itself."""
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return proto
