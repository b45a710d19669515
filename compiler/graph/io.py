"""Models in and out of files, through onnx-graphsurgeon.

`load` keeps what the IR does not: an `Envelope` holds the model's metadata and the exact input and output declarations,
and `to_proto` puts them back. An initializer that is listed as an input is

1. a constant up to IR 3, where every initializer has to be listed; the listing follows the initializers;
2. an input with a default from IR 4 on: it stays in `graph.inputs`, as a `gs.Constant`, and passes leave it alone, but
   for `cleanup`, which makes it a constant.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..disguises import disguised
from ..errors import CompressError
from .expansion import check_functions
from .external import EXTERNAL, Arrays, data_files, extract_weights, read_external, write_external
from .normalize import graphs, inline_functions, normalize, restore
from .protobuf_writer import Weights, size, write
from .weightless import MIN_BYTES, ambiguous_names, export_for_inference, export_weightless, share_initializers

INLINE_LIMIT = 2**31 - 2**24
RESERVED_PRODUCER = "TensorRT"
"""The producer by which onnx-tensorrt 8 knows a network of its own, of another format."""
METADATA_FIELDS = ("producer_name", "producer_version", "domain", "model_version", "doc_string")


@dataclass(frozen=True)
class Model:
    """A graph under compression, with the envelope it came in.

    Attributes:
        graph: the IR; passes edit it.
        envelope: the ModelProto without weights: metadata, declarations, and of each node what the IR cannot hold.
        path: the file it came from, if any; files: that one, and those of its external data.
        stored: bytes of that file and of the data files beside it, 0 without one.
        local: names of the initializers that belong to subgraphs.
    """

    graph: gs.Graph
    envelope: onnx.ModelProto
    path: Path | None = None
    local: frozenset[str] = frozenset()
    stored: int = 0
    files: frozenset[Path] = frozenset()


def load(path: str | os.PathLike[str]) -> Model:
    """Read an ONNX file with its external data; `CompressError` where it cannot be read."""
    path = Path(path)
    proto = inline_functions(parse(path))
    files = frozenset((path, *data_files(proto, path.parent)))
    beside = read_external(proto, path.parent)
    weightless, inside = extract_weights(proto)
    del proto
    stored = sum(file.stat().st_size for file in files)
    return replace(_import(weightless, {**beside, **inside}, path), stored=stored, files=files)


def from_proto(proto: onnx.ModelProto, path: Path | None = None) -> Model:
    """The model of a proto that is in memory with all its data; the proto stays as it is."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return _import(*extract_weights(inline_functions(copy)), path)


def to_proto(model: Model) -> onnx.ModelProto:
    """The graph as a ModelProto, in the envelope it came in."""
    return _with_envelope(model, gs.export_onnx(model.graph, do_type_check=False))


def to_weightless(model: Model, min_bytes: int = MIN_BYTES) -> tuple[onnx.ModelProto, Weights]:
    """`to_proto` without the weights of so many bytes, and these by name; see `export_weightless`."""
    proto, weights = export_weightless(model.graph, min_bytes)
    return _with_envelope(model, proto), weights


def to_inference_proto(model: Model) -> onnx.ModelProto:
    """`to_proto` with its big weights as inputs; see `export_for_inference`."""
    return _with_envelope(model, export_for_inference(model.graph))


def stored_size(model: Model) -> int:
    """The bytes that the model takes in a file, external data included."""
    return size(*to_weightless(model))


def digest(model: Model) -> str:
    """sha256 of the model as one file holds it."""
    total = hashlib.sha256()
    write(*to_weightless(model), total.update)
    return total.hexdigest()


def graph_digest(graph: gs.Graph) -> str:
    """sha256 of a graph as one file holds it, that of its copies."""
    proto, weights = export_weightless(graph)
    proto.ClearField("producer_name")  # copies have lost it
    proto.ClearField("producer_version")
    total = hashlib.sha256()
    write(proto, weights, total.update)
    return total.hexdigest()


def save_graph(graph: gs.Graph, path: str | os.PathLike[str]) -> int:
    """`save` for a graph that has no envelope: its inputs and outputs are declared as it has them."""
    envelope = export_weightless(graph)[0]
    del envelope.graph.node[:]
    return save(Model(graph, envelope, local=frozenset(ambiguous_names(graph))), path)


def _with_envelope(model: Model, proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto`, an export of the model's graph, with what the graph cannot hold."""
    envelope = model.envelope
    for field in METADATA_FIELDS:
        setattr(proto, field, getattr(envelope, field))
    proto.metadata_props.extend(envelope.metadata_props)
    restore(proto, {stub.name: stub for stub in envelope.graph.node})
    share_initializers(proto.graph, model.local)
    _declare(proto, envelope.graph)
    return proto


def save(model: Model, path: str | os.PathLike[str]) -> int:
    """Write the model by atomic rename and return the bytes on disk, external data included.

    A model too big for one file gets a data file beside it. The old model goes before the data file is replaced:
    whatever happens, no model is left with the data of another.
    """
    path = Path(path)
    data = data_file(path)
    proto, weights = to_weightless(model)
    split = size(proto, weights) > INLINE_LIMIT
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            part, part_data = Path(folder) / path.name, Path(folder) / data.name
            if split:
                write_external(proto, part_data, lambda name: weights[name].values)
                part.write_bytes(proto.SerializeToString(deterministic=True))
                path.unlink(missing_ok=True)
                os.replace(part_data, data)
            else:
                with part.open("wb") as file:
                    write(proto, weights, file.write)
            os.replace(part, path)
    except OSError as error:
        raise CompressError(
            f"cannot write: {error.strerror or error}", str(path), "check the folder and free space"
        ) from error
    return path.stat().st_size + (data.stat().st_size if split else 0)


def data_file(path: Path) -> Path:
    """Where the external data of a model go that is written to `path`."""
    return path.with_name(f"{path.name}.data")


def parse(path: Path) -> onnx.ModelProto:
    """The ModelProto in a file, its external data not yet read; `CompressError` where there is none."""
    if path.is_dir():
        raise CompressError("is a folder", str(path), "give the path of an .onnx file")
    if not path.is_file():
        raise CompressError("no such file", str(path), "give the path of an .onnx file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CompressError(f"cannot read: {error.strerror}", str(path), "check its permissions") from error
    if not content:
        raise CompressError("the file is empty", str(path), "export the network again")
    try:
        proto = onnx.ModelProto.FromString(content)
    except Exception as error:
        raise _no_model(path, "not an ONNX model, or only a part of one", "copy or export it again") from error
    if not proto.ir_version or not proto.graph.output:
        raise _no_model(path, "not an ONNX model: it has no graph", "give the path of an .onnx file")
    check_functions(proto)
    return proto


def _no_model(path: Path, what: str, fix: str) -> CompressError:
    found = disguised(path)
    if found is None:
        return CompressError(what, str(path), fix)
    return CompressError(f"not an ONNX model, but {found.what}", str(path), found.fix)


def _import(proto: onnx.ModelProto, arrays: Arrays, path: Path | None) -> Model:
    envelope = onnx.ModelProto(ir_version=proto.ir_version)
    for field in METADATA_FIELDS:
        setattr(envelope, field, getattr(proto, field))
    if envelope.producer_name == RESERVED_PRODUCER:
        envelope.producer_name = ""
    envelope.metadata_props.extend(proto.metadata_props)
    envelope.graph.input.extend(proto.graph.input)
    envelope.graph.output.extend(proto.graph.output)
    envelope.graph.node.extend(normalize(proto, arrays))
    try:
        graph = gs.import_onnx(proto)
    except Exception as error:
        raise CompressError(
            f"cannot be read as a graph: {error}", str(path or "model"), "run onnx.checker on it"
        ) from error
    for tensor in (tensor for part in [graph, *graph.subgraphs(recursive=True)] for tensor in part.tensors().values()):
        if isinstance(tensor, gs.Constant) and tensor.data_location == EXTERNAL:
            tensor.values, tensor.data_location = arrays[tensor.name], None
    if proto.ir_version >= 4:
        _keep_defaults(graph, proto.graph, arrays)
    inner = {tensor.name for part in list(graphs(proto.graph))[1:] for tensor in part.initializer}
    return Model(graph, envelope, path, frozenset(inner))


def _keep_defaults(graph: gs.Graph, proto: onnx.GraphProto, arrays: Arrays) -> None:
    """Put the initializers that are listed as inputs back into `graph.inputs`."""
    stored = {tensor.name: tensor for tensor in proto.initializer}
    known = graph.tensors()

    def value(name: str) -> np.ndarray:
        return arrays[name] if name in arrays else onnx.numpy_helper.to_array(stored[name])

    graph.inputs = [
        known.get(declared.name) or gs.Constant(declared.name, value(declared.name)) for declared in proto.input
    ]


def _listing(tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    """Of the tensor as it is: the name may be that of another one, which is gone."""
    return onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))


def _declare(proto: onnx.ModelProto, declared: onnx.GraphProto) -> None:
    """Inputs and outputs as they were declared, less the listed initializers that are gone; new inputs come last."""
    initializers = {tensor.name: tensor for tensor in proto.graph.initializer}
    present = {info.name for info in proto.graph.input}
    if proto.ir_version < 4:
        present.update(initializers)
    inputs = [info for info in declared.input if info.name in present]
    known = {info.name for info in inputs}
    inputs += [info for info in proto.graph.input if info.name not in known]
    if proto.ir_version < 4:
        listed = {name: _listing(tensor) for name, tensor in initializers.items()}
        inputs = [listed.pop(info.name, info) for info in inputs]
        inputs += listed.values()
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    del proto.graph.output[:]
    proto.graph.output.extend(declared.output)
