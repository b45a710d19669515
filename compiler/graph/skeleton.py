"""A copy of a graph without the bytes of its weights: checks and shape inference work on it, however big the model."""

from __future__ import annotations

from math import prod

import onnx_graphsurgeon as gs

from .constants import lower_constants

SMALL = 1024


def skeleton(graph: gs.Graph) -> gs.Graph:
    """A copy in which every constant of more than `SMALL` elements is an input of the same type and shape.

    Its IR version is at least 4: before, an initializer that is not listed as an input has no shape.
    """
    light = graph.copy()
    light.ir_version = max(light.ir_version or 4, 4)
    lower_constants(light)
    declared = {tensor.name for tensor in light.inputs}
    for name, tensor in light.tensors().items():
        if isinstance(tensor, gs.Constant) and prod(tensor.shape) > SMALL:
            shape = list(tensor.shape)
            variable = tensor.to_variable(tensor.dtype, shape)
            variable.type = "tensor_type"
            if name not in declared:
                light.inputs.append(variable)
    return light
