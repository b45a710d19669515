"""Weights beside their model: as arrays in memory, and in files (ONNX external data).

Reading: a location is relative to the model's folder and stays inside it, symbolic links resolved; anything else is
refused, because a model may come from anywhere. Writing: one data file, every tensor aligned to a page so that engines
can map it into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

import numpy as np
import onnx

from ..disguises import disguised
from ..errors import CompressError

PAGE = 4096
EXTERNAL = onnx.TensorProto.EXTERNAL
Arrays = dict[str, np.ndarray]
NUMPY_TYPES = frozenset(
    getattr(onnx.TensorProto, name)
    for name in (
        *("FLOAT", "DOUBLE", "FLOAT16", "BOOL", "INT8", "INT16", "INT32", "INT64"),
        *("UINT8", "UINT16", "UINT32", "UINT64"),
    )
)
"""Types that numpy has, too."""


def graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor of a graph: initializers and attributes, subgraphs included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            for inner in [attribute.g] if attribute.HasField("g") else []:
                yield from graph_tensors(inner)


def data_files(proto: onnx.ModelProto, folder: Path) -> set[Path]:
    """The files in which data of `proto` lie, whether they are there or not."""
    entries = (entry for tensor in graph_tensors(proto.graph) for entry in tensor.external_data)
    return {folder / entry.value for entry in entries if entry.key == "location"}


def extract_weights(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, Arrays]:
    """A model without the weights that `proto` holds as bytes, and these by name, so that they lie in memory once.

    What does not fill its shape stays: `normalize` refuses it.
    """
    arrays: Arrays = {}
    for tensor in proto.graph.initializer:
        if tensor.data_type not in NUMPY_TYPES or tensor.data_location == EXTERNAL:
            continue
        dtype, data = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type), tensor.raw_data
        if data and min(tensor.dims, default=0) >= 0 and len(data) == prod(tensor.dims) * dtype.itemsize:
            arrays[tensor.name] = np.frombuffer(data, dtype).reshape(tensor.dims)
            tensor.ClearField("raw_data")
            tensor.data_location = EXTERNAL
    return onnx.ModelProto.FromString(proto.SerializeToString()) if arrays else proto, arrays


def read_external(proto: onnx.ModelProto, folder: Path) -> Arrays:
    """Bring the external data of `proto` into memory: weights as arrays by name, so that they lie there once, what
    numpy has no type for into the proto."""
    arrays: Arrays = {}
    for tensor in proto.graph.initializer:
        if tensor.data_location == EXTERNAL and tensor.data_type in NUMPY_TYPES:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            arrays[tensor.name] = np.frombuffer(_read(tensor, folder), dtype).reshape(tensor.dims)
            tensor.ClearField("external_data")
    for tensor in graph_tensors(proto.graph):
        if tensor.data_location == EXTERNAL and tensor.name not in arrays:
            load_external_data(tensor, folder)
    return arrays


def load_external_data(tensor: onnx.TensorProto, folder: Path) -> None:
    """Bring the external data of `tensor` into it."""
    tensor.raw_data = bytes(_read(tensor, folder))
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


def write_external(proto: onnx.ModelProto, path: Path, values: Callable[[str], np.ndarray]) -> None:
    """Write the tensors that `proto` leaves out into the file `path`; `values` gives them by name."""
    with path.open("wb") as file:
        for tensor in graph_tensors(proto.graph):
            if tensor.data_location != EXTERNAL:
                continue
            data = np.ascontiguousarray(values(tensor.name))
            file.write(b"\0" * (-file.tell() % PAGE))
            entries = {"location": path.name, "offset": file.tell(), "length": file.write(data.data)}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))


def _read(tensor: onnx.TensorProto, folder: Path) -> bytearray:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _resolve_location(entries.get("location", ""), folder, tensor.name)
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or 0) or None
        with path.open("rb") as file:
            there = max(0, path.stat().st_size - offset)
            data = bytearray(min(length or _expected(tensor), there))
            file.seek(offset)
            del data[file.readinto(data) :]
    except (OSError, ValueError) as error:
        raise CompressError(
            f"cannot read the data of tensor '{tensor.name}': {error}", str(path), "copy it again"
        ) from error
    expected = _expected(tensor) if length is None else max(length, _expected(tensor))
    if len(data) < expected:
        raise _too_short(f"tensor '{tensor.name}' needs {expected} bytes at {offset}, the file has {len(data)}", path)
    return data


def _too_short(what: str, path: Path) -> CompressError:
    """Weights are bytes of any kind: what the file is instead is only asked where they are too few."""
    found = disguised(path)
    if found is None:
        return CompressError(what, str(path), "copy it again")
    return CompressError(f"no weights, but {found.what}: {what}", str(path), found.fix)


def _resolve_location(location: str, folder: Path, name: str) -> Path:
    """The data file, which must lie in `folder` or below."""
    path = folder / location.replace("\0", "")  # with which there is no file
    inside = path.resolve().is_relative_to(folder.resolve()) and not Path(location).is_absolute()
    if not location or "\0" in location or not inside:
        raise CompressError(
            f"the data of tensor '{name}' lies at {location!r}, outside of the model's folder",
            str(folder),
            "move it beside the model",
        )
    if not path.is_file():
        raise CompressError(f"the data file of tensor '{name}' is missing", str(path), "keep it beside the model")
    return path


def _expected(tensor: onnx.TensorProto) -> int:
    """Bytes that the type and shape of `tensor` call for; types below a byte are packed."""
    bits = _BITS.get(tensor.data_type) or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-prod(tensor.dims) * bits // 8)


_BITS = {
    getattr(onnx.TensorProto, name): bits
    for name, bits in (("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT2", 2), ("UINT2", 2))
    if hasattr(onnx.TensorProto, name)
}
