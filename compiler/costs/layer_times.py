"""Times of the Convs of an engine, measured on a device, and kept in a file that can be read anywhere.

`build --profile FILE` writes them: FILE is the list of layers that trtexec exports. Its first entry says how many runs
they are from, and no reader of profiles takes it for a layer; it gets an object under `KEY`:

    {"device": "xavier", "mode": "MAXN", "others_ms": 0.41,
     "convs": [{"channels_in": 64, ..., "precision": "int8", "ms": 0.052}, ...]}

A time is that of the layer of the engine that the Conv is part of, with the activation and the sum that are fused into
it, for the batch that was timed. Where a layer is several Convs side by side, each has the share of its
multiply-accumulates. `others_ms` is the time of all layers without a Conv.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from ..errors import CompressError
from ..files import read_json
from .latency.precision import WIDTH, Precision
from .workload import ConvWorkload

KEY = "onnx-compress"
FIX = "give files that `onnx-compress build --profile` wrote"
GEOMETRY = ("channels_in", "channels_out", "kernel", "group", "positions_in", "positions_out", "batch")


@dataclass(frozen=True)
class TimedConv:
    """A Conv as it was built, and its milliseconds for its batch."""

    workload: ConvWorkload
    precision: Precision
    ms: float


@dataclass(frozen=True)
class LayerTimes:
    """What was measured of one engine.

    Attributes:
        device: in `costs.latency.devices`, None where it is not there.
        mode: the power mode that nvpmodel names, None where it was not known.
        others_ms: of the layers without a Conv, for the batch.
    """

    device: str | None
    mode: str | None
    convs: tuple[TimedConv, ...]
    others_ms: float

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        convs = [
            {**_geometry(timed.workload), "precision": timed.precision, "ms": round(timed.ms, 6)}
            for timed in self.convs
        ]
        return {"device": self.device, "mode": self.mode, "others_ms": round(self.others_ms, 6), "convs": convs}


def read_layer_times(path: Path) -> LayerTimes:
    """The times in the file; `CompressError` where there are none."""
    try:
        content: Any = read_json(path)
    except (OSError, ValueError) as error:
        raise CompressError(f"cannot be read: {error}", str(path), FIX) from error
    entries = cast("list[Any]", content) if isinstance(content, list) else []
    objects = [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]
    found = [entry[KEY] for entry in objects if KEY in entry]
    if not found:
        raise CompressError("holds no times of Convs", str(path), FIX)
    try:
        return _times(found[0])
    except (KeyError, TypeError, ValueError) as error:
        raise CompressError(f"holds no times of Convs: {error!r}", str(path), FIX) from error


def _times(found: Mapping[str, Any]) -> LayerTimes:
    convs = tuple(_timed(entry) for entry in found["convs"])
    others = float(found["others_ms"])
    if others < 0:
        raise ValueError(f"others_ms {others}")
    device, mode = (None if found[key] is None else str(found[key]) for key in ("device", "mode"))
    return LayerTimes(device, mode, convs, others)


def _timed(entry: Mapping[str, Any]) -> TimedConv:
    kernel = tuple(int(size) for size in entry["kernel"])
    inputs, outputs, group, before, after, batch = (int(entry[key]) for key in GEOMETRY if key != "kernel")
    precision, ms = entry["precision"], float(entry["ms"])
    possible = bool(kernel) and min(inputs, outputs, group, before, after, batch, *kernel) > 0
    if not possible or precision not in WIDTH or not 0 < ms < float("inf"):
        raise ValueError(f"a Conv with {entry}")
    return TimedConv(ConvWorkload(inputs, outputs, kernel, group, before, after, batch=batch), precision, ms)


def _geometry(workload: ConvWorkload) -> dict[str, Any]:
    plain = asdict(workload)
    return {key: plain[key] for key in GEOMETRY}
