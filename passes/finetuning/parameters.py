"""What fine-tuning may change: the float values that the weights, biases and slopes of layers are computed from.

1. From the weight and bias of every Conv, ConvTranspose, Gemm, MatMul and PRelu the walk goes up through what computes
   them (Gather, Mul, Concat, ...) to constants; so templates, vectors and codebooks are trained in the place of the
   weights that they stand for, and what is shared stays shared. The project's own Conv (`graph.storage.operators`)
   holds its templates itself.
2. An INT8 weight behind a DequantizeLinear is trained as a float of which the graph sees the rounded value, and stored
   in its integers again.
3. Zeros of a weight stay zero: what a pass left out stays out.
4. The bias of a layer between Q/DQ pairs is stored in whole steps of its sums of products, as `quantize` leaves it.
5. Indices, shapes, scales and zero points stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.storage.computed import constant_sources
from ...compiler.graph.storage.operators import is_template_conv
from ...compiler.graph.weights import resolve
from ..projection.grid import round_bias

LAYERS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
}
VALUES: Mapping[str, tuple[int, ...]] = {
    "Gather": (0,),
    "Slice": (0,),
    "Reshape": (0,),
    "Transpose": (0,),
    "Expand": (0,),
    "Squeeze": (0,),
    "Unsqueeze": (0,),
    "Identity": (0,),
    "QuantizeLinear": (0,),
    "DequantizeLinear": (0,),
    "Mul": (0, 1),
    "Add": (0, 1),
    "Sub": (0, 1),
}
"""By operator, the inputs that carry values on (and not where they lie). Concat: all."""
BIAS = 2
TEMPLATES = (1, 2, 4)
"""Of a SpatialBasisConv: templates, transforms and bias."""


@dataclass(frozen=True, eq=False)
class TrainableParameter:
    """A constant that is trained.

    Attributes:
        constant: in the graph.
        layer: the node that it is for, the first one where several read it.
        values: the float32 values it starts from.
        scale, zero: of a constant that stores integers, in the shape of `values` or broadcast to it; else None.
        step: of a bias that is stored in whole steps (rule 4), (N,) or (); else None.
    """

    constant: gs.Constant
    layer: str
    values: np.ndarray
    scale: np.ndarray | None = None
    zero: np.ndarray | None = None
    step: np.ndarray | None = None

    @property
    def name(self) -> str:
        return self.constant.name

    def mask(self) -> np.ndarray | None:
        """0 where the values stay zero, 1 elsewhere; None where none has to."""
        if self.values.ndim < 2 or self.values.all() or self.scale is not None:
            return None
        return (self.values != 0).astype(np.float32)

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Trained `values` in the type of the constant."""
        kind = self.constant.values.dtype
        if self.step is not None:
            return round_bias(values, self.step).astype(kind)
        if self.scale is None or self.zero is None:
            return values.astype(kind)
        limits = np.iinfo(kind)
        return np.clip(np.rint(values / self.scale) + self.zero, limits.min, limits.max).astype(kind)

    def write(self, rewriter: Rewriter, values: np.ndarray) -> None:
        """Store trained `values` in the graph."""
        rewriter.set_values(self.constant, self.stored(values))


def find_parameters(graph: gs.Graph) -> list[TrainableParameter]:
    """What can be trained in the main graph, in graph order."""
    found: dict[int, TrainableParameter] = {}
    inputs = {id(tensor) for tensor in graph.inputs}
    for node in graph.nodes:
        for index in _trained_inputs(node):
            if index < len(node.inputs) and constant_sources(node.inputs[index], inputs) is not None:
                for parameter in _sources(node.inputs[index], node, node.name):
                    stepped = replace(parameter, step=_step(node, parameter)) if index == BIAS else parameter
                    found.setdefault(id(parameter.constant), stepped)
    return list(found.values())


def _trained_inputs(node: gs.Node) -> tuple[int, ...]:
    if is_template_conv(node):
        return TEMPLATES
    return () if node.domain else LAYERS.get(node.op, ())


def _sources(tensor: gs.Tensor, reader: gs.Node, layer: str) -> Iterator[TrainableParameter]:
    """The float constants, or integers that `reader` dequantizes, that carry the values of `tensor`."""
    if isinstance(tensor, gs.Constant):
        parameter = _parameter(tensor, reader, layer)
        if parameter is not None:
            yield parameter
        return
    node = tensor.inputs[0]
    for index in range(len(node.inputs)) if node.op == "Concat" else VALUES.get(node.op, ()):
        if index < len(node.inputs):
            yield from _sources(node.inputs[index], node, layer)


def _parameter(constant: gs.Constant, reader: gs.Node, layer: str) -> TrainableParameter | None:
    if constant.values.dtype == np.float32:
        return TrainableParameter(constant, layer, constant.values)
    if reader.op != "DequantizeLinear" or len(reader.inputs) < 3 or constant.values.dtype.kind != "i":
        return None
    scale, zero = reader.inputs[1], reader.inputs[2]
    if not isinstance(scale, gs.Constant) or not isinstance(zero, gs.Constant) or len(constant.outputs) > 1:
        return None
    if scale.values.ndim > 1 or reader.attrs.get("block_size", 0):
        return None
    steps, offset = (
        _along(values.values, constant.values.ndim, reader.attrs.get("axis", 1)) for values in (scale, zero)
    )
    floats = (constant.values.astype(np.float32) - offset) * steps
    return TrainableParameter(constant, layer, floats.astype(np.float32), steps, offset)


def _step(node: gs.Node, bias: TrainableParameter) -> np.ndarray | None:
    """S_x S_w, where both are constant and nobody else reads the bias as it is stored."""
    makers = [tensor.inputs[0] if tensor.inputs else None for tensor in node.inputs[:BIAS]]
    scales = [None if each is None or each.op != "DequantizeLinear" else resolve(each.inputs[1]) for each in makers]
    if scales[0] is None or scales[1] is None or scales[0].size != 1 or bias.constant.outputs != [node]:
        return None
    step = (scales[0].reshape(()) * scales[1].squeeze()).astype(np.float32)
    return step if step.shape in ((), bias.values.shape) else None


def _along(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """A scale or zero point, per tensor or per slice of `axis`, in a shape that broadcasts, float32."""
    if values.size == 1:
        return values.reshape(()).astype(np.float32)
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape).astype(np.float32)
