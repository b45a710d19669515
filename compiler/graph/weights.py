"""Weights resolved to numpy: through initializers, Constant nodes, Identity, Cast, Transpose, the Q/DQ pair, and the
arithmetic that stands in for it (`packed`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs

ARITHMETIC: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"Sub": np.subtract, "Mul": np.multiply}
READ_THROUGH = frozenset({"Identity", "Cast", "Transpose", "QuantizeLinear", "DequantizeLinear", *ARITHMETIC})
SCALARS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


def stored_tensors(graph: gs.Graph) -> dict[str, gs.Constant]:
    """Those of the main graph that have a value, by name, as `graph.tensors()` has them, in a tenth of its time."""
    read = (tensor for node in graph.nodes for tensor in node.inputs)
    tensors = (*graph.inputs, *read, *graph.outputs)
    return {tensor.name: tensor for tensor in tensors if isinstance(tensor, gs.Constant)}


def resolve(tensor: gs.Tensor) -> np.ndarray | None:
    """The constant value of `tensor`.

    None where it depends on a model input, numpy has no such type, or a node that computes it is broken.
    """
    if isinstance(tensor, gs.Constant):
        return values_of(tensor)
    if len(tensor.inputs) != 1:
        return None
    try:
        with np.errstate(all="ignore"):
            return _evaluate(tensor.inputs[0])
    except (ValueError, LookupError):
        return None


def sources(tensor: gs.Tensor) -> Iterator[gs.Tensor]:
    """What the value of `tensor` comes from, past the nodes that `resolve` reads through."""
    if len(tensor.inputs) != 1 or tensor.inputs[0].op not in READ_THROUGH or not tensor.inputs[0].inputs:
        yield tensor
        return
    for each in tensor.inputs[0].inputs:
        yield from sources(each)


def declared_input(tensor: gs.Tensor, graph: gs.Graph) -> gs.Tensor | None:
    """The model input that the value of `tensor` comes from: a caller may give it another value than the stored one."""
    inputs = {id(each) for each in graph.inputs}
    return next((source for source in sources(tensor) if id(source) in inputs), None)


def values_of(tensor: gs.Constant) -> np.ndarray | None:
    """The values of an initializer; None for types that numpy lacks (bfloat16, float8, int4), which stay untouched."""
    dtype = tensor.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind not in "fiub":
        return None
    return np.asarray(tensor.values)


def is_quantized(tensor: gs.Tensor) -> bool:
    """Whether `tensor` comes out of a DequantizeLinear, possibly moved or cast after it."""
    while len(tensor.inputs) == 1 and tensor.inputs[0].op in ("Identity", "Cast", "Transpose"):
        tensor = tensor.inputs[0].inputs[0]
    return len(tensor.inputs) == 1 and tensor.inputs[0].op == "DequantizeLinear"


def holds_codes(tensor: gs.Tensor) -> bool:
    """Whether the weight `tensor` is on a grid of integers: behind a Q/DQ pair, or stored as codes."""
    types = (source.dtype for source in sources(tensor) if isinstance(source, gs.Constant))
    return is_quantized(tensor) or any(isinstance(each, np.dtype) and each.kind in "iu" for each in types)


def constant_tensor(node: gs.Node) -> gs.Constant | None:
    """The tensor that a Constant node holds, or None where it holds text."""
    value = node.attrs.get("value")
    if isinstance(value, gs.Constant):
        return value.copy()
    for key, dtype in SCALARS.items():
        if key in node.attrs:
            return gs.Constant(node.outputs[0].name, np.asarray(node.attrs[key], dtype))
    return None


def _evaluate(node: gs.Node) -> np.ndarray | None:
    if node.op == "Constant":
        tensor = constant_tensor(node)
        return None if tensor is None else values_of(tensor)
    if node.op not in READ_THROUGH or node.domain:
        return None
    found = [resolve(tensor) for tensor in node.inputs if not tensor.is_empty()]
    inputs = [value for value in found if value is not None]
    if len(inputs) < len(found):
        return None
    x = inputs[0]
    if node.op == "Identity":
        return x
    if node.op == "Cast":
        return x.astype(onnx.helper.tensor_dtype_to_np_dtype(node.attrs["to"]))
    if node.op == "Transpose":
        return np.transpose(x, node.attrs.get("perm"))
    if node.op in ARITHMETIC:
        return None if node.attrs else ARITHMETIC[node.op](x, inputs[1])
    convert = _quantize if node.op == "QuantizeLinear" else _dequantize
    return convert(x, inputs[1:], node.attrs.get("axis", 1))


def _quantize(x: np.ndarray, parameters: Sequence[np.ndarray], axis: int) -> np.ndarray | None:
    """round(x / scale) + zero point, clipped to the type of the zero point; per tensor or per slice of `axis`."""
    scale = parameters[0]
    zero = parameters[1] if len(parameters) > 1 else np.zeros((), np.uint8)
    if scale.ndim > 1 or zero.dtype.kind not in "iu":
        return None
    shape = [1] * x.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    steps = np.rint(x.astype(np.float32) / scale.astype(np.float32).reshape(shape if scale.size > 1 else ()))
    limits = np.iinfo(zero.dtype)
    return np.clip(steps + zero.reshape(shape if zero.size > 1 else ()), limits.min, limits.max).astype(zero.dtype)


def _dequantize(x: np.ndarray, parameters: Sequence[np.ndarray], axis: int) -> np.ndarray | None:
    """(x - zero point) * scale, per tensor or per slice of `axis`; block-wise scales are not resolved."""
    scale = parameters[0]
    zero = parameters[1] if len(parameters) > 1 else None
    if scale.ndim > 1:
        return None
    shape = [1] * x.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    shifted = x.astype(np.float32)
    if zero is not None:
        shifted = shifted - zero.astype(np.float32).reshape(shape if zero.size > 1 else ())
    return (shifted * scale.astype(np.float32).reshape(shape if scale.size > 1 else ())).astype(scale.dtype)
