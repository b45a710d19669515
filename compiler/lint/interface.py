"""Rules about what surrounds the nodes: external data, and the inputs of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from ..errors import CompressError
from ..graph.external import graph_tensors, load_external_data
from .network import Network
from .node import shape_of
from .rule import TENSORRT, TENSORRT_8, Problem, Problems, cache_only, every, model_rule

KEYS = frozenset(("location", "offset", "length", "checksum"))
EXTERNAL = onnx.TensorProto.EXTERNAL
CASTS: dict[int, tuple[str, str]] = {
    onnx.TensorProto.INT64: ("INT64", "INT32"),
    onnx.TensorProto.DOUBLE: ("DOUBLE", "FP32"),
}


@model_rule("external-key", targets=TENSORRT, source="onnx-tensorrt WeightsContext.cpp, convertOnnxWeights")
def external_key(network: Network) -> Problems:
    """External data may have the keys location, offset, length and checksum only."""
    for tensor in _external(network):
        unknown = sorted({entry.key for entry in tensor.external_data} - KEYS)
        if unknown:
            yield Problem(f"its external data have the key {', '.join(unknown)}", "write the data again", tensor.name)


@model_rule("external-missing", targets=every, source="ONNX external data; onnx-tensorrt parseExternalWeights")
def external_missing(network: Network) -> Problems:
    """The files with external data must lie beside the model, or below."""
    if network.context.folder is None:
        return
    for location, tensor in {_location(tensor): tensor for tensor in _external(network)}.items():
        try:
            _probe(tensor.name, location, network.context.folder)
        except CompressError as error:
            yield Problem(error.what, error.fix, location or tensor.name)


def _probe(name: str, location: str, folder: Path) -> None:
    """Read the first byte of a data file."""
    probe = onnx.TensorProto(name=name, data_type=onnx.TensorProto.INT8, data_location=EXTERNAL)
    for key, value in (("location", location), ("length", "1")):
        probe.external_data.add(key=key, value=value)
    load_external_data(probe, folder)


def _external(network: Network) -> Iterator[onnx.TensorProto]:
    return (tensor for tensor in graph_tensors(network.proto.graph) if tensor.data_location == EXTERNAL)


def _location(tensor: onnx.TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


@model_rule("input-cast", targets=TENSORRT_8, severity="warning", source="onnx-tensorrt 8.5-GA docs/operators.md")
def input_cast(network: Network) -> Problems:
    """INT64 inputs become INT32 bindings, doubles FP32."""
    for info in _inputs(network):
        if info.type.tensor_type.elem_type in CASTS:
            given, read = CASTS[info.type.tensor_type.elem_type]
            yield Problem(f"the {given} input is a binding of {read}", f"feed {read}, or declare it so", info.name)


@model_rule("dla-dynamic", targets=cache_only, severity="warning", source="TensorRT developer guide ch. 12, DLA")
def dla_dynamic(network: Network) -> Problems:
    """The DLA has no dynamic dimensions."""
    for info in _inputs(network):
        open_dims = [str(dim or "?") for dim in shape_of(info.type.tensor_type) or () if not isinstance(dim, int)]
        if open_dims:
            text = f"the dimensions {', '.join(open_dims)} are open, the DLA needs them fixed"
            yield Problem(text, "write numbers, or give trtexec --shapes", info.name)


def _inputs(network: Network) -> Iterable[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in network.proto.graph.initializer}
    return [info for info in network.proto.graph.input if info.name not in stored]


RULES = (
    external_key,
    external_missing,
    input_cast,
    dla_dynamic,
)
