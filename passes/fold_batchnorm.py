"""Fold BatchNormalization into the layer before it (Jacob et al., 2018, section 3.2).

    BN(y) = s (y - mean) + beta,   s = gamma / sqrt(var + epsilon)
    y = W x + b     ->     BN(y) = (s W) x + s (b - mean) + beta           s scales the filters of W

Filters lie along axis 0 of a Conv weight (N, C/g, k...); along axis 1, group by group, of a ConvTranspose weight
(C, N/g, k...); along axis 0 of a Gemm weight with transB, else axis 1. A Gemm keeps alpha; its beta goes into the bias.

A BatchNormalization stays, with the reason, where
1. it does not follow a Conv, ConvTranspose or Gemm;
2. the layer's output has another reader, or is an output of the model;
3. it is in training mode, or normalises each position on its own (`spatial=0`, opset 8 and before);
4. a parameter, weight or bias is not constant, or the weight is quantized already;
5. the weight is shared with a layer that is not followed by an equal BatchNormalization (heads over several levels,
   with statistics for each): folded, it would be stored several times.

The folded layer writes the tensor that the BatchNormalization wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.rewriter import Rewriter
from ..compiler.graph.ties import readers
from ..compiler.graph.training_mode import node_training_mode
from ..compiler.graph.weights import declared_input, is_quantized, resolve
from ..compiler.pipeline.base import Decision, Pass, PassResult
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.registry import register

LAYERS = ("Conv", "ConvTranspose", "Gemm")
UNEQUAL = "'{}' shares its weight with a layer that has no equal BatchNormalization behind it"
Folded = tuple[np.ndarray, np.ndarray]


@register
@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """Fold BatchNormalization into the Conv, ConvTranspose or Gemm before it."""

    name: ClassVar[str] = "fold-batchnorm"
    exact: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        rewriter = Rewriter(graph, ctx.origins)
        decisions: list[Decision] = []
        for node in [each for each in graph.nodes if _is_norm(each)]:
            if node.inputs:  # not folded yet, with another one
                decisions += _fold(node, graph, rewriter)
        folded = sum(decision.action == "folded" for decision in decisions)
        return PassResult(changed=folded > 0, decisions=decisions, metrics={"folded": folded})


def _fold(node: gs.Node, graph: gs.Graph, rewriter: Rewriter) -> list[Decision]:
    """Fold `node`, and the equal ones behind all other layers that read the same weight."""
    found = check(node, graph) or _folded(node)
    norms = [node] if isinstance(found, str) else _norms_of_readers(node, graph)
    if isinstance(found, str) or not norms:
        reason = found if isinstance(found, str) else UNEQUAL.format(node.inputs[0].inputs[0].name)
        return [Decision(node.name, "kept", reason)]
    with rewriter.sharing(len(norms)):
        for norm in norms:
            _write(norm, rewriter, *found)
    return [Decision(norm.name, "folded", "into the layer before it") for norm in norms]


def _norms_of_readers(node: gs.Node, graph: gs.Graph) -> list[gs.Node]:
    """`node` and the others behind layers that read its layer's weight; none where they fold to something else."""
    layer, norms = node.inputs[0].inputs[0], list[gs.Node]()
    for reader in readers(layer.inputs[1]):
        behind = reader.outputs[0].outputs
        norm = behind[0] if len(behind) == 1 and _is_norm(behind[0]) else None
        if norm is None or check(norm, graph) is not None or not _alike(_folded(norm), _folded(node)):
            return []
        norms.append(norm)
    return norms


def _alike(one: Folded | str, other: Folded | str) -> bool:
    return not isinstance(one, str) and not isinstance(other, str) and all(map(np.array_equal, one, other))


def _is_norm(node: gs.Node) -> bool:
    return node.op == "BatchNormalization" and not node.domain


def check(node: gs.Node, graph: gs.Graph) -> str | None:
    """Why the BatchNormalization `node` cannot be folded, or None."""
    y = node.inputs[0]
    layer = y.inputs[0] if len(y.inputs) == 1 else None
    if layer is None or layer.op not in LAYERS or layer.domain:
        return f"it follows {layer.op if layer else 'an input'}, not a Conv, ConvTranspose or Gemm"
    if len(y.outputs) > 1 or any(y is output for output in graph.outputs):
        return f"the output of '{layer.name}' is read elsewhere too"
    if node_training_mode(node, graph.opset):
        return "it is in training mode"
    if graph.opset < 9 and not node.attrs.get("spatial", 1):
        return "it normalises each position on its own (spatial=0)"
    if any(resolve(tensor) is None for tensor in node.inputs[1:5]):
        return "its parameters are not constant"
    if any(resolve(tensor) is None for tensor in layer.inputs[1:] if not tensor.is_empty()):
        return f"the weight or bias of '{layer.name}' is not constant"
    for tensor in (*node.inputs[1:5], *layer.inputs[1:]):
        declared = declared_input(tensor, graph)
        if declared is not None:
            return f"'{declared.name}' is a model input"
    if is_quantized(layer.inputs[1]):
        return f"the weight of '{layer.name}' is quantized"
    return None


def _folded(node: gs.Node) -> Folded | str:
    """Weight and bias of the layer with `node` folded into it, or why its numbers or shapes do not allow it."""
    layer = node.inputs[0].inputs[0]
    gamma, beta, mean, variance = (_float64(tensor) for tensor in node.inputs[1:5])
    spread = variance + node.attrs.get("epsilon", 1e-5)
    if not (spread > 0).all():
        return "its variance is not positive"
    scale = gamma / np.sqrt(spread)
    stored = resolve(layer.inputs[1])
    assert stored is not None
    filters = filter_scale(layer, stored.shape, scale)
    bias = _bias(layer, scale.size)
    if filters is None or bias is None or stored.dtype.kind != "f":
        return f"its {scale.size} channels do not fit the weight {stored.shape} or the bias of '{layer.name}'"
    weight = stored.astype(np.float64) * filters
    return weight.astype(stored.dtype), (scale * (bias - mean) + beta).astype(stored.dtype)


def _write(node: gs.Node, rewriter: Rewriter, weight: np.ndarray, bias: np.ndarray) -> None:
    layer = node.inputs[0].inputs[0]
    rewriter.set_weight(layer, 1, weight)
    rewriter.set_weight(layer, 2, bias)
    if layer.op == "Gemm":
        layer.attrs["beta"] = 1.0
    rewriter.absorb(node, layer)


def filter_scale(layer: gs.Node, shape: tuple[int, ...], scale: np.ndarray) -> np.ndarray | None:
    """`scale`, one value per filter, shaped to multiply a weight of that shape; None where it does not fit."""
    rest = [1] * (len(shape) - 2)
    if layer.op == "ConvTranspose":
        group = layer.attrs.get("group", 1)
        if group * shape[1] != scale.size or shape[0] % group:
            return None
        return np.repeat(scale.reshape(group, shape[1]), shape[0] // group, axis=0).reshape(shape[0], shape[1], *rest)
    axis = 1 if layer.op == "Gemm" and not layer.attrs.get("transB", 0) else 0
    if shape[axis] != scale.size:
        return None
    return scale.reshape(-1, 1, *rest) if axis == 0 else scale.reshape(1, -1)


def _bias(layer: gs.Node, size: int) -> np.ndarray | None:
    """What the layer adds to each filter (a Gemm: beta * C); None where C varies over the batch."""
    if len(layer.inputs) < 3 or layer.inputs[2].is_empty():
        return np.zeros(size)
    bias = _float64(layer.inputs[2]) * (layer.attrs.get("beta", 1.0) if layer.op == "Gemm" else 1.0)
    if bias.size not in (1, size) or (bias.size == size and bias.shape[-1:] != (size,)):
        return None
    return np.broadcast_to(bias.reshape(-1), (size,))


def _float64(tensor: gs.Tensor) -> np.ndarray:
    values = resolve(tensor)
    assert values is not None
    return values.astype(np.float64)
