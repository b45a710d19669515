"""ONNX shape inference of models as they come: one that contradicts itself stays as it is, for the checker to name."""

from __future__ import annotations

from math import prod

import onnx

from .normalize import graphs

MAX_VECTOR = 2**16
FOLLOWED = frozenset({"Add", "Sub", "Mul", "Cast", "Concat", "Gather", "Slice", "Squeeze", "Unsqueeze"})


def inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with the types and shapes that the rules of ONNX give its tensors, or itself."""
    try:
        found = onnx.shape_inference.infer_shapes(proto)
        return onnx.shape_inference.infer_shapes(proto, data_prop=True) if _is_affordable(found) else found
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return proto


def _is_affordable(proto: onnx.ModelProto) -> bool:
    """Whether values may be followed: inference writes down a symbol, of some 200 bytes, for each element of a vector
    that reaches a node of `FOLLOWED`. `proto` has shapes; a vector that is made inside, and whose length they leave
    open, may turn out to be a long one."""
    for graph in graphs(proto.graph):
        made = {info.name: info for info in (*graph.value_info, *graph.output)}
        infos = {**{info.name: info for info in graph.input}, **made}
        for name in (name for node in graph.node if node.op_type in FOLLOWED for name in node.input if name in infos):
            dims = infos[name].type.tensor_type.shape.dim
            length = dims[0].dim_value if len(dims) == 1 else 1
            if length > MAX_VECTOR or (length < 1 and name in made):
                return False
    return True


def as_input(name: str, weight: onnx.TensorProto) -> onnx.ValueInfoProto:
    """An input in the place of a weight. Of a long vector the length is left open.

    Inference takes a vector that is cast for dimensions, and writes down a symbol for each: 200 bytes of memory per
    element, and seconds (onnx 1.23).
    """
    dims = [None] if len(weight.dims) == 1 and prod(weight.dims) > MAX_VECTOR else list(weight.dims)
    return onnx.helper.make_tensor_value_info(name, weight.data_type, dims)
