"""Is a graph still a valid model? Looked at after every pass; of models that come in, by `validate`.

1. Every node has a name of its own. Every tensor is written once, and not under the name of an outer tensor.
2. Every tensor that is read was written before, in the graph or around it.
3. Inputs and outputs are those that the model came with, in order. (A listed initializer may be gone.)
4. The ONNX checker and strict shape inference find nothing wrong. Both see a copy without the big weights, so that the
   size of the model does not matter; with custom operators the inference is not strict.
"""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs

from ..errors import REPORT, Fault
from .io import Model, to_inference_proto


def check_graph(model: Model) -> None:
    """Raise `CompressError` naming what is wrong with the graph of `model`."""
    check_structure(model)
    check_onnx(model)


def check_structure(model: Model) -> None:
    """Rules 1 to 3 of the module docstring."""
    _check_nodes(model.graph)
    _check_tensors(model.graph, {})
    declared = model.envelope.graph
    names = [tensor.name for tensor in model.graph.outputs]
    wanted = [info.name for info in declared.output]
    if names != wanted:
        raise _error(f"the outputs are {names}, expected {wanted}", "outputs")
    inputs = {tensor.name for tensor in model.graph.inputs}
    known = [info.name for info in declared.input]
    if [name for name in known if name in inputs] != [tensor.name for tensor in model.graph.inputs]:
        raise _error(f"the inputs are {sorted(inputs)}, expected {known}", "inputs")


def check_onnx(model: Model) -> None:
    """Rule 4 of the module docstring."""
    proto = proto_to_check(model)
    try:
        onnx.checker.check_model(proto)
        onnx.shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=not _open_ended(model.graph), data_prop=True
        )
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise _error(f"not a valid ONNX model: {str(error).strip().splitlines()[0]}", "graph") from error


def proto_to_check(model: Model) -> onnx.ModelProto:
    """The model without its big weights, declared types and all."""
    proto = to_inference_proto(model)
    del proto.graph.value_info[:]
    return proto


def _check_nodes(graph: gs.Graph) -> None:
    seen: set[str] = set()
    for part in [graph, *graph.subgraphs(recursive=True)]:
        for node in part.nodes:
            if not node.name or node.name in seen:
                raise _error(f"a second node has this name, or it has none ({node.op})", node.name)
            seen.add(node.name)


def _check_tensors(graph: gs.Graph, outer: dict[str, gs.Tensor]) -> None:
    """Walk in execution order; `outer` holds what is visible from around the graph."""
    visible = dict(outer)
    for tensor in graph.inputs:
        _define(tensor, visible)
    for node in graph.nodes:
        for tensor in node.inputs:
            _check_read(tensor, visible, node)
        for subgraph in node.subgraphs():
            _check_tensors(subgraph, visible)
        for tensor in node.outputs:
            _define(tensor, visible)
    for tensor in graph.outputs:
        if tensor.name not in visible and not isinstance(tensor, gs.Constant):
            raise _error("no node writes this output", tensor.name)


def _define(tensor: gs.Tensor, visible: dict[str, gs.Tensor]) -> None:
    if tensor.is_empty():
        return
    if tensor.name in visible:
        raise _error("a second tensor has this name", tensor.name)
    visible[tensor.name] = tensor


def _check_read(tensor: gs.Tensor, visible: dict[str, gs.Tensor], node: gs.Node) -> None:
    if tensor.is_empty():
        return
    known = visible.get(tensor.name)
    if known is None and isinstance(tensor, gs.Constant):
        visible[tensor.name] = tensor
        return
    if known is None:
        raise _error(f"it reads '{tensor.name}', which nothing wrote before", node.name)
    if known is not tensor:
        raise _error(f"it reads '{tensor.name}', of which there are two", node.name)


def _open_ended(graph: gs.Graph) -> bool:
    """Whether the ONNX rules cannot know every type: custom operators."""
    return any(node.domain for part in [graph, *graph.subgraphs(recursive=True)] for node in part.nodes)


def _error(what: str, where: str) -> Fault:
    return Fault(what, where or "unnamed node", f"a pass broke the graph: {REPORT}")
