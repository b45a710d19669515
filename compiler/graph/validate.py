"""Is a model that comes in whole? What is not, engines refuse as well, or read as something else.

1. Its structure is that of a graph: rules 1 to 3 of `check`.
2. No node is in training mode.
3. Inputs and outputs have types, opsets and the IR version are numbers that there are.
4. Every node keeps the rules of its operator. Those that ONNX has never heard of pass: engines have plug-ins.
5. Attributes of convolutions and pooling are numbers that can be, and fit weight, bias and input (`attributes`).
6. Weights that are computed from constants are finite.
7. No tensor, and nothing computed from constants, is too big (`limits`).

Weights that do not fill their shape, or are stored as NaN or Inf, are refused before, by `normalize`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..errors import CompressError
from .attributes import CONVS, PADDED, Shape, Shapes, attribute_fault
from .check import check_structure, proto_to_check
from .inference import inferred
from .io import Model
from .limits import check_constants, check_elements
from .normalize import DEFAULT_DOMAIN, ONNX_DOMAINS, WEIGHTED, graphs
from .training_mode import EXPORT, node_training_mode
from .weights import resolve

EXPORT_AGAIN = "export the network again; onnx.checker shows the details"
NEWEST: dict[str, int] = dict.fromkeys(ONNX_DOMAINS, onnx.defs.onnx_opset_version())
NEWEST_OF_OTHERS = 2**31 - 1


def validate(model: Model) -> None:
    """Raise `CompressError` naming what is broken."""
    try:
        check_structure(model)
    except CompressError as error:
        raise _broken(error.what, error.where) from error
    _check_mode(model.graph)
    _check_computed(model.graph)
    _check_declarations(model.envelope.graph)
    proto = proto_to_check(model)
    _check_versions(proto)
    _check_nodes(proto)
    shapes = _shapes(proto)
    _check_attributes(proto, shapes)
    check_elements(shapes)
    check_constants(model.graph, shapes)


def _check_mode(graph: gs.Graph) -> None:
    for node in (node for part in (graph, *graph.subgraphs(recursive=True)) for node in part.nodes):
        reason = node_training_mode(node, graph.opset)
        if reason is not None:
            raise CompressError(f"{node.op} is in training mode: {reason}", f"node '{node.name}'", EXPORT)


def _check_computed(graph: gs.Graph) -> None:
    for node in graph.nodes:
        for tensor in node.inputs[1:] if node.op in WEIGHTED else ():
            values = None if isinstance(tensor, gs.Constant) else resolve(tensor)
            if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
                raise _broken(f"the weight '{tensor.name}' holds NaN or Inf", f"node '{node.name}'")


def _check_declarations(graph: onnx.GraphProto) -> None:
    for info in (*graph.input, *graph.output):
        if info.type.WhichOneof("value") is None:
            raise _broken("it has no type", f"tensor '{info.name}'")


def _check_versions(proto: onnx.ModelProto) -> None:
    if proto.ir_version > onnx.IR_VERSION:
        raise _unknown(f"IR version {proto.ir_version}", f"1 to {onnx.IR_VERSION}", "model")
    for domain, version in ((entry.domain, entry.version) for entry in proto.opset_import):
        newest = NEWEST.get(domain, NEWEST_OF_OTHERS)
        if not 0 < version <= newest:
            raise _unknown(f"opset {version}", f"1 to {newest}", f"domain '{domain or DEFAULT_DOMAIN}'")


def _unknown(what: str, known: str, where: str) -> CompressError:
    return CompressError(
        f"{what} is not known: {known} are supported", where, "export the network again at one of these"
    )


def _check_nodes(proto: onnx.ModelProto) -> None:
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    rules = onnx.checker.C.CheckerContext()
    rules.ir_version, rules.opset_imports = proto.ir_version, opsets
    for node in (node for part in graphs(proto.graph) for node in part.node):
        if not _is_known(node) or any(entry.HasField("g") for entry in node.attribute):
            continue
        try:
            onnx.checker.check_node(node, rules)
        except onnx.checker.ValidationError as error:
            raise _broken(str(error).strip().splitlines()[0].rstrip("."), f"node '{node.name}'") from error


def _is_known(node: onnx.NodeProto) -> bool:
    return not node.op_type or (node.domain, node.op_type) in _operators()


@cache
def _operators() -> frozenset[tuple[str, str]]:
    """(domain, name) of every operator that ONNX knows in some version."""
    return frozenset((schema.domain, schema.name) for schema in onnx.defs.get_all_schemas_with_history())


def _check_attributes(proto: onnx.ModelProto, shapes: Mapping[str, Shape]) -> None:
    for node in (node for part in graphs(proto.graph) for node in part.node):
        if node.op_type not in PADDED or node.domain not in ONNX_DOMAINS:
            continue
        attributes = {entry.name: _value(entry) for entry in node.attribute}
        reads = (shapes.get(name, ()) for name in (*node.input, "", "")[:3])
        fault = attribute_fault(
            node.op_type, attributes, Shapes(*reads) if node.op_type in CONVS else Shapes(next(reads))
        )
        if fault is not None:
            raise _broken(fault, f"node '{node.name or node.op_type}'")


def _value(entry: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(entry)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _shapes(proto: onnx.ModelProto) -> Mapping[str, Shape]:
    """By tensor, as far as they can be inferred."""
    graph = inferred(proto).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for info in (*graph.value_info, *graph.input):
        found.setdefault(info.name, tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim))
    return found


def _broken(what: str, where: str) -> CompressError:
    return CompressError(f"the model is broken: {what}", where, EXPORT_AGAIN)
