"""Which layers the deep-learning accelerator of a Jetson AGX Xavier (DLA v1) runs, and which fall back to the GPU.

For every node:

 1. No Q/DQ pairs: the DLA takes ranges from a calibration cache only.
 2. The operator has a way onto the DLA (`CHECKS`). GlobalAveragePool, ReduceMean, Softmax, Pad, Gather, Flatten,
    Reshape and Squeeze have none.
 3. Shapes are known; of the dimensions only the batch may be left open, for a profile of one size to fix.
 4. At most 4096 samples, where the batch is all dimensions before C, H and W; every other dimension at most 8192.
 5. The limits of the operator, in `weight_layers` and `other_layers`.

Not checked, because a graph does not say it: in INT8 the input and output of a MaxPool or AveragePool need equal
ranges, and so do the two operands of an elementwise layer; a core holds few loadables at a time, so a network that
changes between DLA and GPU often may not build.

Sources: TensorRT 8.5, NvInfer.h (comments on layers); TensorRT developer guide, "DLA supported layers and
restrictions"; NVIDIA/Deep-Learning-Accelerator-SW, operators/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from ..costs.latency.kernel_work import product_of
from ..costs.latency.operators import LAYERS
from ..costs.workload import total
from ..graph.shapes import Shapes, symbolic_shapes
from ..graph.weights import is_quantized
from . import other_layers, weight_layers
from .facts import DlaPrecision, Facts

__all__ = ["DlaLayer", "dla_layers", "dla_share"]

MAX_BATCH, MAX_SIZE = 4096, 8192
CHECKS: dict[str, Callable[[Facts], str | None]] = {**weight_layers.CHECKS, **other_layers.CHECKS}


@dataclass(frozen=True)
class DlaLayer:
    """A node and where it runs.

    Attributes:
        node: its name.
        runs: on the DLA; on the GPU otherwise.
        reason: why not, with the figure found and the limit; a remark, or nothing, for a layer that runs.
        macs: of the whole batch (`MatrixProduct.macs`), for Conv, ConvTranspose, Gemm and MatMul; None where a shape is
            not known.
    """

    node: str
    op: str
    runs: bool
    reason: str
    macs: int | None


def dla_layers(graph: gs.Graph, shapes: Shapes, precision: DlaPrecision = "int8") -> list[DlaLayer]:
    """The nodes of the main graph, in graph order, without those that are computed when the engine is built."""
    open_dims, static = _open_dims(graph), _static(graph)
    return [_layer(Facts(node, shapes, precision), open_dims) for node in graph.nodes if id(node) not in static]


def dla_share(layers: Iterable[DlaLayer]) -> float | None:
    """The share of the multiply-accumulates that the DLA runs; 0 where there are none, None where it is not known."""
    counts = [(layer.macs, layer.runs) for layer in layers]
    every, running = total(macs for macs, _ in counts), total(macs for macs, runs in counts if runs)
    if running == 0:
        return 0.0
    return None if every is None or running is None else running / max(1, every)


def _layer(facts: Facts, open_dims: Mapping[str, int]) -> DlaLayer:
    node = facts.node
    reason = _refusal(facts, open_dims)
    macs = _macs(facts, open_dims) if node.op in LAYERS else 0
    return DlaLayer(node.name, node.op, reason is None, reason or other_layers.remark(facts), macs)


def _macs(facts: Facts, open_dims: Mapping[str, int]) -> int | None:
    names = [tensor.name for tensor in (*facts.node.inputs[:2], facts.node.outputs[0])]
    known = all(name in facts.shapes and not open_dims.get(name) for name in names)
    return product_of(facts.node, facts.shapes).macs if known else None


def _refusal(facts: Facts, open_dims: Mapping[str, int]) -> str | None:
    node = facts.node
    if node.op in ("QuantizeLinear", "DequantizeLinear") or any(is_quantized(tensor) for tensor in node.inputs):
        return "the DLA takes no Q/DQ pairs: give it the float model and a calibration cache"
    check = None if node.domain else CHECKS.get(node.op)
    if check is None:
        return f"{node.op} has no way onto the DLA"
    return _open(facts, open_dims) or _sizes(facts) or check(facts)


def _open_dims(graph: gs.Graph) -> dict[str, int]:
    """Tensor -> the first dimension beyond the batch that the model leaves open; none where its inputs are fixed."""
    axes = {
        name: next((axis for axis, dim in enumerate(dims) if dim is None and axis > 0), 0)
        for name, dims in symbolic_shapes(graph).items()
    }
    return axes if any(axes.get(tensor.name) for tensor in graph.inputs) else {}


def _open(facts: Facts, open_dims: Mapping[str, int]) -> str | None:
    for tensor in facts.activations:
        if tensor.name not in facts.shapes:
            return f"the shape of '{tensor.name}' is not known"
        axis = open_dims.get(tensor.name, 0)
        if axis:
            return f"dimension {axis} of '{tensor.name}' is left open: the DLA needs fixed sizes"
    return None


def _sizes(facts: Facts) -> str | None:
    for tensor in facts.activations:
        shape = facts.shapes[tensor.name]
        batch = shape[: max(1, len(shape) - 3)]
        if prod(batch) > MAX_BATCH:
            return f"a batch of {prod(batch)} in '{tensor.name}': at most {MAX_BATCH}"
        large = max(shape[len(batch) :], default=1)
        if large > MAX_SIZE:
            return f"a dimension of {large} in '{tensor.name}': at most {MAX_SIZE}"
    return None


def _static(graph: gs.Graph) -> set[int]:
    """The nodes whose inputs are all constant."""
    known: set[str] = {""}
    nodes: set[int] = set()
    for node in graph.nodes:
        if all(isinstance(tensor, gs.Constant) or tensor.name in known for tensor in node.inputs):
            nodes.add(id(node))
            known.update(tensor.name for tensor in node.outputs)
    return nodes
