"""ONNX shape inference of models as they come: one that contradicts itself stays as it is, for the checker to name."""

from __future__ import annotations

from math import prod

import onnx

MAX_VECTOR = 2**16


def inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with the types and shapes that the rules of ONNX give its tensors, or itself."""
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return proto


def as_input(name: str, weight: onnx.TensorProto) -> onnx.ValueInfoProto:
    """An input in the place of a weight. Of a long vector the length is left open.

    Inference takes a vector that is cast for dimensions, and writes down a symbol for each: 200 bytes of memory per
    element, and seconds (onnx 1.23).
    """
    dims = [None] if len(weight.dims) == 1 and prod(weight.dims) > MAX_VECTOR else list(weight.dims)
    return onnx.helper.make_tensor_value_info(name, weight.data_type, dims)
