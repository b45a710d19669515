"""Models in and out of files, through onnx-graphsurgeon.

`load` keeps what the IR does not: an `Envelope` holds the model's metadata and the exact input and output declarations,
and `to_proto` puts them back.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs
from onnx import external_data_helper, inliner

from ..errors import CompressError

INLINE_LIMIT = 2**31 - 2**20


@dataclass(frozen=True)
class Model:
    """A graph under compression, with the envelope it came in.

    Attributes:
        graph: the IR; passes edit it.
        envelope: the ModelProto without nodes and weights: metadata, declarations, opsets.
        path: the file it came from, if any.
    """

    graph: gs.Graph
    envelope: onnx.ModelProto
    path: Path | None = None


def load(path: str | os.PathLike[str]) -> Model:
    """Read an ONNX file with its external data; `CompressError` where it cannot be read."""
    path = Path(path)
    proto = _read(path)
    return from_proto(proto, path)


def from_proto(proto: onnx.ModelProto, path: Path | None = None) -> Model:
    """The model of a loaded proto: local functions inlined, every node named."""
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    _name_nodes(proto.graph)
    graph = gs.import_onnx(proto)
    envelope = onnx.ModelProto()
    envelope.CopyFrom(onnx.ModelProto(ir_version=proto.ir_version))
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(envelope, field, getattr(proto, field))
    envelope.metadata_props.extend(proto.metadata_props)
    envelope.graph.input.extend(proto.graph.input)
    envelope.graph.output.extend(proto.graph.output)
    return Model(graph, envelope, path)


def to_proto(model: Model) -> onnx.ModelProto:
    """The graph as a ModelProto, in the envelope it came in."""
    proto = gs.export_onnx(model.graph, do_type_check=False)
    envelope = model.envelope
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(proto, field, getattr(envelope, field))
    proto.metadata_props.extend(envelope.metadata_props)
    for kept, declared in ((proto.graph.input, envelope.graph.input), (proto.graph.output, envelope.graph.output)):
        del kept[:]
        kept.extend(declared)
    return proto


def save(model: Model, path: str | os.PathLike[str]) -> int:
    """Write the model by atomic rename and return the bytes on disk, external data included."""
    path = Path(path)
    proto = to_proto(model)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        part = Path(folder) / path.name
        if proto.ByteSize() > INLINE_LIMIT:
            onnx.save(proto, part, save_as_external_data=True, location=f"{path.name}.data")
            os.replace(Path(folder) / f"{path.name}.data", path.with_name(f"{path.name}.data"))
        else:
            part.write_bytes(proto.SerializeToString())
        os.replace(part, path)
    data = path.with_name(f"{path.name}.data")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise CompressError("no such file", str(path), "give the path of an .onnx file")
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise CompressError("not an ONNX model", str(path), "export the network again") from error
    external_data_helper.load_external_data_for_model(proto, str(path.parent))
    return proto


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give every unnamed or double-named node a name; reports and provenance go by it."""
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        base = node.name or f"{node.op_type}_{index}"
        name, count = base, 0
        while name in seen:
            count += 1
            name = f"{base}_{count}"
        seen.add(name)
        node.name = name
