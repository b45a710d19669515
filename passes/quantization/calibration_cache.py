"""INT8 by a calibration cache: a range for every tensor, beside a model that stays in float.

The engine chooses which layers run in INT8 and rounds their weights itself. Tensors that hold the same values, or that
its INT8 kernels want at one scale, share a range: both sides of data movement and of Concat; for the DLA also both
operands of an elementwise sum, product, minimum or maximum, and both sides of a pool.

Source: TensorRT 8.5 NvInfer.h (DLA: pooling and elementwise layers in INT8 need equal ranges).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ...compiler.errors import CompressError, UsageError
from ...compiler.graph.functions import tensor_types
from ...compiler.graph.quantization.disjoint_sets import DisjointSets
from ...compiler.graph.quantization.qdq import MOVES
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.traces import Spread
from ...compiler.targets import Target
from ...runtime.calibration import Histogram, histograms
from ..budgets.budget import Budget
from ..projection.grid import HIGH, safe_scale
from ..projection.ranges import Method, threshold
from .activation_grids import activation_spread

JOINED = MOVES | {"Concat"}
ELEMENTWISE = frozenset(("Add", "Sub", "Mul", "Min", "Max", "Sum"))
TARGETS = "those of TensorRT 8 do, the others take form=pairs"
PER_LAYER = "form=pairs, or give the engine its --layerPrecisions"
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def readable_version(graph: gs.Graph, ctx: Context, budget: Budget | None) -> str:
    """Of the cache that the engine reads; `CompressError` where it reads none, or not what is asked for."""
    version, where = ctx.target.calibration, "quantize:form=cache"
    if version is None:
        raise UsageError(f"target {ctx.target.name} reads no calibration cache", where, TARGETS)
    if any(entry.name == ctx.running for entry in ctx.overrides):
        raise UsageError("a calibration cache has ranges of tensors, nothing of single nodes", "--set", PER_LAYER)
    if budget is not None:
        what = f"a calibration cache has ranges of tensors, and cannot leave layers in float for {budget}"
        raise UsageError(what, where, PER_LAYER)
    if any(node.op == "DequantizeLinear" for node in graph.nodes):
        fix = "quantize:requantize=true takes them out first"
        raise CompressError("TensorRT ignores the cache of a network with Q/DQ pairs", where, fix)
    return version


def tensor_scales(
    graph: gs.Graph, ctx: Context, data: Data, method: Method, percentile: float, samples: int
) -> tuple[dict[str, float], list[Spread]]:
    """Scale (amax / 127) of every float tensor of the main graph, by name, in graph order; and, for the report, what
    tensors that share a range hold together."""
    names = list(float_tensors(graph))
    seen = histograms(graph, names, data, samples, ctx.progress)
    leader = _leaders(graph, names, ctx.target)
    merged: dict[str, Histogram] = {}
    for name in names:
        merged.setdefault(leader[name], Histogram()).merge(seen[name])
    tops = {key: threshold(h.counts, h.width, h.peak, method, percentile) for key, h in merged.items()}
    scales = {name: float(safe_scale(np.array(tops[leader[name]] / HIGH))) for name in names}
    return scales, [activation_spread(key, held, scales[key] * HIGH) for key, held in merged.items()]


def float_tensors(graph: gs.Graph) -> Iterator[str]:
    """Names of the float tensors that are not constant."""
    types = tensor_types(graph)
    written = [tensor for node in graph.nodes for tensor in node.outputs]
    for tensor in [*graph.inputs, *written]:
        kind = types[tensor.name].tensor_type.elem_type if tensor.name in types else None
        if isinstance(tensor, gs.Variable) and kind in FLOATS:
            yield tensor.name


def _leaders(graph: gs.Graph, names: list[str], target: Target) -> dict[str, str]:
    """Tensor -> the tensor that stands for all that share its range."""
    sets, known = DisjointSets[str](), set(names)
    for one, other in (pair for node in graph.nodes for pair in _pairs(node, target)):
        if one in known and other in known:
            sets.join(one, other)
    return {name: sets.find(name) for name in names}


def _pairs(node: gs.Node, target: Target) -> Iterator[tuple[str, str]]:
    if node.domain:
        return
    inputs = [tensor.name for tensor in node.inputs if not tensor.is_empty()]
    if node.op in JOINED or (target.dla and node.op == "AveragePool"):
        yield from ((inputs[0], tensor.name) for tensor in node.outputs)
    if node.op == "Concat" or (target.dla and node.op in ELEMENTWISE):
        yield from ((inputs[0], name) for name in inputs[1:])
