"""Weights resolved to numpy: through initializers, Constant nodes, Identity, Cast, Transpose and DequantizeLinear."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs


def resolve(tensor: gs.Tensor) -> np.ndarray | None:
    """The constant value of `tensor`, or None where it depends on a model input."""
    if isinstance(tensor, gs.Constant):
        return np.asarray(tensor.values)
    if len(tensor.inputs) != 1:
        return None
    return _evaluate(tensor.inputs[0])


def _evaluate(node: gs.Node) -> np.ndarray | None:
    if node.op == "Constant":
        return _constant(node)
    if node.op not in ("Identity", "Cast", "Transpose", "DequantizeLinear") or node.domain:
        return None
    inputs = [resolve(tensor) for tensor in node.inputs if not tensor.is_empty()]
    if any(value is None for value in inputs):
        return None
    x = inputs[0]
    assert x is not None
    if node.op == "Identity":
        return x
    if node.op == "Cast":
        return x.astype(onnx.helper.tensor_dtype_to_np_dtype(node.attrs["to"]))
    if node.op == "Transpose":
        return x.transpose(node.attrs.get("perm"))
    return _dequantize(x, inputs[1:], node.attrs.get("axis", 1))


def _constant(node: gs.Node) -> np.ndarray | None:
    value = node.attrs.get("value")
    if isinstance(value, gs.Constant):
        return np.asarray(value.values)
    for key, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64), ("value_ints", np.int64)):
        if key in node.attrs:
            return np.asarray(node.attrs[key], dtype)
    return None


def _dequantize(x: np.ndarray, parameters: list[np.ndarray | None], axis: int) -> np.ndarray | None:
    """(x - zero point) * scale, per tensor or per slice of `axis`; block-wise scales are not resolved."""
    scale = parameters[0]
    zero = parameters[1] if len(parameters) > 1 else None
    if scale is None or scale.ndim > 1:
        return None
    shape = [1] * x.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    shifted = x.astype(np.float32)
    if zero is not None:
        shifted = shifted - zero.astype(np.float32).reshape(shape if zero.size > 1 else ())
    return (shifted * scale.astype(np.float32).reshape(shape if scale.size > 1 else ())).astype(scale.dtype)
