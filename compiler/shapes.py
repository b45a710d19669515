"""Static tensor shapes by ONNX shape inference.

Dynamic dimensions are given nominal values, so that a cost is always a number: 1 for the batch (axis 0 of an input), and
the sample's size or `NOMINAL` for the others.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_graphsurgeon as gs

Shapes = Mapping[str, tuple[int, ...]]
NOMINAL = 224


def input_shapes(graph: gs.Graph, sample: Shapes | None = None) -> dict[str, tuple[int, ...]]:
    """The shape of every model input for one sample (batch 1)."""
    return {tensor.name: _nominal(tensor, (sample or {}).get(tensor.name)) for tensor in graph.inputs if tensor.shape is not None}


def _nominal(tensor: gs.Variable, sample: tuple[int, ...] | None) -> tuple[int, ...]:
    def size(axis: int, declared: object) -> int:
        if isinstance(declared, int) and declared > 0:
            return declared
        if axis == 0:
            return 1
        return sample[axis] if sample is not None else NOMINAL

    return tuple(size(axis, declared) for axis, declared in enumerate(tensor.shape or ()))


def infer_shapes(graph: gs.Graph, sample: Shapes | None = None) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape, for every tensor whose shape the ONNX rules determine.

    `sample` gives input shapes (a calibration sample's) for dimensions that the model leaves open.
    """
    proto = gs.export_onnx(graph.copy(), do_type_check=False)
    sizes = input_shapes(graph, sample)
    for declared in proto.graph.input:
        for dim, value in zip(declared.type.tensor_type.shape.dim, sizes.get(declared.name, ()), strict=False):
            dim.dim_value = value
    for declared in proto.graph.output:
        declared.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes: dict[str, tuple[int, ...]] = {}
    for info in [*inferred.input, *inferred.value_info, *inferred.output]:
        dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        if dims and all(dim > 0 for dim in dims):
            shapes[info.name] = tuple(dims)
    return shapes
