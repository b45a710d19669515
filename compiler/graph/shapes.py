"""Static tensor shapes by ONNX shape inference.

A batch that is left open (axis 0 of an input, and whatever has the same name) is 1, or the sample's where shapes are
`batched`; other open dimensions have the sample's size. Without a sample `infer_shapes` takes `NOMINAL` for them,
which serves to see what belongs together; `static_shapes`, from which costs are counted, leaves them open, and so
whatever depends on them. Shapes that depend on computed values (a Pad whose pads come from a chain of Shape, Gather,
Concat) are found by folding constants and inferring in turn, on a copy without the big weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import onnx
import onnx_graphsurgeon as gs

from .constants import fold
from .inference import inferred
from .weightless import export_for_inference
from .weights import stored_tensors

Shapes = Mapping[str, tuple[int, ...]]
Dims = Sequence[int | str | None]
NOMINAL = 224
CACHED_GRAPHS = 4  # a pass, the report and the check after it ask for the shapes of one graph in turn


def input_shapes(graph: gs.Graph, sample: Shapes | None = None, batched: bool = False) -> dict[str, tuple[int, ...]]:
    """The shape of every model input for one sample (batch 1), or for as many as `sample` has."""
    return nominal_shapes(_declared(graph, sample or {}), sample, batched)


def _declared(graph: gs.Graph, sample: Shapes) -> dict[str, Dims]:
    """The dimensions of every input; all open where only the sample says how many there are."""
    inputs = [tensor for tensor in graph.inputs if isinstance(tensor, gs.Variable)]
    found: dict[str, Dims] = {tensor.name: tensor.shape for tensor in inputs if tensor.shape is not None}
    unranked = [tensor.name for tensor in inputs if tensor.shape is None and tensor.name in sample]
    return found | {name: [None] * len(sample[name]) for name in unranked}


def nominal_shapes(
    declared: Mapping[str, Dims], sample: Shapes | None = None, batched: bool = False
) -> dict[str, tuple[int, ...]]:
    """Shapes with a value for every dimension: dimensions of one name have one size, wherever the name appears."""
    known = _known_sizes(declared, sample, batched)
    return {name: tuple(NOMINAL if dim is None else dim for dim in dims) for name, dims in known.items()}


def _known_sizes(
    declared: Mapping[str, Dims], sample: Shapes | None, batched: bool
) -> dict[str, tuple[int | None, ...]]:
    """None for what neither the declarations nor the sample say."""
    named: dict[str, int] = {}
    for name, dims in declared.items():
        for axis, dim in enumerate(dims):
            if isinstance(dim, str) and axis > 0 and sample is not None and name in sample:
                named[dim] = sample[name][axis]
    batches = {name: shape[0] for name, shape in (sample or {}).items() if batched and shape}
    for name, dims in declared.items():
        if dims and isinstance(dims[0], str):
            named[dims[0]] = max(batches.get(name, 1), named.get(dims[0], 1) if batched else 1)
    return {
        name: _sizes(dims, (sample or {}).get(name), named, batches.get(name, 1)) for name, dims in declared.items()
    }


def _sizes(
    declared: Dims, sample: tuple[int, ...] | None, named: Mapping[str, int], batch: int
) -> tuple[int | None, ...]:
    def size(axis: int, dim: int | str | None) -> int | None:
        if isinstance(dim, int) and dim > 0:
            return dim
        if isinstance(dim, str) and dim in named:
            return named[dim]
        if axis == 0:
            return batch
        return sample[axis] if sample is not None else None

    return tuple(size(axis, dim) for axis, dim in enumerate(declared))


def infer_shapes(graph: gs.Graph, sample: Shapes | None = None) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape, for every weight and for every tensor whose shape the ONNX rules determine.

    `sample` gives input shapes (a calibration sample's) for dimensions that the model leaves open.
    """
    found = _of_inputs(graph, input_shapes(graph, sample))
    return {name: shape for name, shape in found.items() if shape and all(shape)}


def static_shapes(graph: gs.Graph, sample: Shapes | None = None, batched: bool = False) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape for one sample, or for as many as `sample` has; only what is sure, no nominal sizes; scalars
    are ()."""
    return _of_inputs(graph, _known_sizes(_declared(graph, sample or {}), sample, batched))


def _of_inputs(graph: gs.Graph, sizes: Mapping[str, tuple[int | None, ...]]) -> dict[str, tuple[int, ...]]:
    proto = export_for_inference(graph)
    for info in proto.graph.input:
        if info.name in sizes and info.type.HasField("tensor_type"):
            kind = info.type.tensor_type.elem_type
            info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, kind, sizes[info.name]))
    weights = {name: tuple(tensor.shape) for name, tensor in stored_tensors(graph).items()}
    return {**_inferred(proto.SerializeToString(deterministic=True)), **weights}


@lru_cache(maxsize=CACHED_GRAPHS)
def _inferred(content: bytes) -> Shapes:
    proto = onnx.ModelProto.FromString(content)
    dims = known_dims(proto)
    if not _complete(proto, dims):
        folded = gs.import_onnx(proto)
        while fold(folded, dims):
            proto = gs.export_onnx(folded, do_type_check=False)
            dims.update(known_dims(proto))
    dims.update({tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer})
    return {name: _static(found) for name, found in dims.items() if None not in found}


def _complete(proto: onnx.ModelProto, dims: Mapping[str, Sequence[int | None]]) -> bool:
    """Whether there is nothing left to find."""
    written = (name for node in proto.graph.node for name in node.output if name)
    return all(name in dims and None not in dims[name] for name in written)


def symbolic_shapes(graph: gs.Graph) -> dict[str, tuple[int | None, ...]]:
    """Tensor name -> shape as the model declares it: None for every dimension that is left open."""
    return known_dims(export_for_inference(graph))


def known_dims(proto: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """One run of shape inference over a model without big weights; its declarations change.

    Declared shapes count for inputs and for the outputs of custom operators only; others may be stale.
    """
    for declared in proto.graph.output:
        declared.type.tensor_type.ClearField("shape")
    custom = {name for node in proto.graph.node if node.domain for name in node.output}
    trusted = [info for info in proto.graph.value_info if info.name in custom]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(trusted)
    found = inferred(proto).graph
    return {
        info.name: tuple(dim.dim_value if dim.dim_value > 0 else None for dim in info.type.tensor_type.shape.dim)
        for info in [*found.input, *found.value_info, *found.output]
        if info.type.tensor_type.HasField("shape")
    }


def _static(dims: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(dim for dim in dims if dim is not None)
