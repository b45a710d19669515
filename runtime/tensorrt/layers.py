"""What the layers of an engine cost, and which nodes of the model they stand for.

TensorRT names a layer after the nodes that it has fused:

    conv1 + relu1                     fused one after the other
    conv1 || conv2                    run side by side as one
    PWN(PWN(sigmoid1), mul1)          element-wise chains
    conv1.weight + q1 + conv1         with the quantizer of its weight
    {ForeignNode[conv1...fc]}         everything from conv1 to fc
    Reformatting CopyNode for Input Tensor 0 to conv1 + relu1
    conv1 + relu1 input reformatter 0
    conv1_clone_1, conv1_7            names made unique

The time of a layer goes in equal parts to those of the wanted nodes that it stands for, so that the times of the nodes
add up to the times of the layers that were attributed. Layers of newer versions have names that say nothing
(`__myl_...`); there the layer information of `--exportLayerInfo` lists the nodes.

Source: NVIDIA/TensorRT, samples/common/sampleReporting.cpp (the JSON), trt-engine-explorer (the names).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...compiler.errors import CompressError
from ...compiler.files import read_json

_WRAPPING = re.compile(
    r"^Reformatting CopyNode for (?:Input|Output) Tensor \d+ to |(?: (?:in|out)put reformatter \d+| copy)$"
)
_SPAN = re.compile(r"^\{?ForeignNode\[(.*)\.\.\.(.*)\]\}?$")
_JOINTS = re.compile(r" \+ | \|\| |, |PWN\(")
_UNIQUE = re.compile(r"(?:_clone)?_\d+$")
_ORIGIN = re.compile(r"\[ONNX Layer: (.*?)\]")


@dataclass(frozen=True)
class LayerTime:
    """A layer of the engine: milliseconds per inference, and its share of all layers in percent.

    `median_ms` is the mean where the version does not export it.
    """

    name: str
    average_ms: float
    median_ms: float
    percentage: float


def read_profile(path: Path) -> list[LayerTime]:
    """The layers in a file that `--exportProfile` wrote; `CompressError` where it is none."""
    entries = _read(path, "--exportProfile")
    try:
        return [_layer(entry) for entry in entries if "name" in entry]
    except (KeyError, TypeError, ValueError) as error:
        raise CompressError(
            f"not a layer profile: {error!r}", str(path), "write it with trtexec --exportProfile"
        ) from error


def read_origins(path: Path) -> dict[str, tuple[str, ...]]:
    """Layer name -> ONNX nodes, as far as a file that `--exportLayerInfo` wrote lists them (TensorRT 8.6 and newer)."""
    layers = [entry for entry in _read(path, "--exportLayerInfo") if "Name" in entry]
    found = {entry["Name"]: tuple(_ORIGIN.findall(str(entry.get("Metadata", "")))) for entry in layers}
    return {name: nodes for name, nodes in found.items() if nodes}


def times_by_node(
    profile: Sequence[LayerTime], node_names: Sequence[str], origins: Mapping[str, tuple[str, ...]] | None = None
) -> dict[str, float]:
    """Node -> milliseconds (medians) of the layers that stand for it.

    Args:
        node_names: the nodes whose times are wanted, in the order of the graph; others get no share.
        origins: of `read_origins`.
    """
    times: dict[str, float] = {}
    for layer in profile:
        found = nodes_of(layer.name, node_names, (origins or {}).get(layer.name, ()))
        for name in found:
            times[name] = times.get(name, 0.0) + layer.median_ms / len(found)
    return times


def nodes_of(layer: str, node_names: Sequence[str], listed: Sequence[str] = ()) -> list[str]:
    """Which of `node_names` the layer called `layer` stands for."""
    known = dict.fromkeys(node_names)
    plain = _WRAPPING.sub("", _WRAPPING.sub("", layer))
    if listed or plain in known:
        return [name for name in known if name in (listed or (plain,))]
    parts = [_known(part, known) for part in _parts(plain)]
    span = _SPAN.match(plain)
    if span and parts[0] is not None and parts[-1] is not None:
        order = list(known)
        return order[order.index(parts[0]) : order.index(parts[-1]) + 1]
    return list(dict.fromkeys(part for part in parts if part is not None))


def _parts(plain: str) -> list[str]:
    """The names in a layer's name, brackets of PWN( ) and ForeignNode[ ] taken off."""
    if span := _SPAN.match(plain):
        return [span[1], span[2]]
    parts = [part for part in _JOINTS.split(plain) if part]
    return [part.rstrip(")") if "PWN(" in plain and part.count(")") > part.count("(") else part for part in parts]


def _known(part: str, known: Mapping[str, None]) -> str | None:
    """The node behind a name, if it is wanted."""
    for name in (part, _UNIQUE.sub("", part)):
        if name in known:
            return name
    return None


def _layer(entry: Mapping[str, Any]) -> LayerTime:
    average = float(entry["averageMs"])
    return LayerTime(
        str(entry["name"]), average, float(entry.get("medianMs", average)), float(entry.get("percentage", "nan"))
    )


def _read(path: Path, option: str) -> list[dict[str, Any]]:
    """The objects of a JSON list; layer information has them under "Layers"."""
    try:
        content: Any = read_json(path)
    except (OSError, ValueError) as error:
        raise CompressError(f"cannot be read: {error}", str(path), f"write it with trtexec {option}") from error
    if isinstance(content, dict):
        content = cast("dict[str, Any]", content).get("Layers", [])
    if not isinstance(content, list):
        raise CompressError("not a list of layers", str(path), f"write it with trtexec {option}")
    return [cast("dict[str, Any]", entry) for entry in cast("list[Any]", content) if isinstance(entry, dict)]
