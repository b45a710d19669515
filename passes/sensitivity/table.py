"""How much each layer's error costs at the output: a table, on disk.

    {"schema": 1, "measure": "output", "layers": {"conv1": {"gain": 0.8, "points": [[0.03, 0.0021], [0.1, 0.008]]}}}

`points` are what was measured: relative error of the layer's output, divergence of the network's outputs. A table is
found again by a key: the sha256 of the model, the data and the options that it was measured with.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.errors import CompressError
from ...compiler.files import read_json, staged, writing
from ...compiler.graph.weightless import export_for_inference
from ...compiler.pipeline.data import Data

SCHEMA = 1
CHUNK = 256


@dataclass(frozen=True)
class LayerSensitivity:
    """What a layer's error counts, relative to the other layers', and the points it was fitted to."""

    gain: float
    points: tuple[tuple[float, float], ...] = ()


@dataclass
class SensitivityTable:
    """The sensitivity of each layer of a network, by the layer's name."""

    measure: str
    layers: dict[str, LayerSensitivity] = field(default_factory=dict[str, LayerSensitivity])

    def save(self, path: Path) -> None:
        """Write by atomic rename; `CompressError` where that is not possible."""
        layers = {name: {"gain": entry.gain, "points": entry.points} for name, entry in self.layers.items()}
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with staged(path) as part:
                text = json.dumps({"schema": SCHEMA, "measure": self.measure, "layers": layers}, indent=1)
                part.write_text(text + "\n", encoding="utf-8")

    @staticmethod
    def load(path: Path) -> SensitivityTable:
        """`CompressError` where the file is not such a table."""
        try:
            content = read_json(path)
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']}, expected {SCHEMA}")
            return SensitivityTable(
                content["measure"], {name: _entry(value) for name, value in content["layers"].items()}
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CompressError(f"is no table of sensitivities: {error}", str(path), "measure it anew") from error


def cache_file(key: str) -> Path:
    """Where the table of that key is kept between runs: below $XDG_CACHE_HOME, or ~/.cache."""
    folder = os.environ.get("XDG_CACHE_HOME")
    return Path(folder or Path.home() / ".cache") / "onnx-compress" / "sensitivity" / f"{key}.json"


def table_key(graph: gs.Graph, data: Data, options: Mapping[str, object]) -> str:
    """sha256 over the model (structure and weights), the samples and the options."""
    total = hashlib.sha256(json.dumps({"schema": SCHEMA, **options}, sort_keys=True, default=str).encode())
    total.update(export_for_inference(graph).SerializeToString(deterministic=True))
    for name, tensor in sorted(graph.tensors().items()):
        if isinstance(tensor, gs.Constant):
            _update(total, name, tensor.values)
    for batch in data.batches(CHUNK):
        for name in sorted(batch):
            _update(total, name, batch[name])
    return total.hexdigest()


def _update(total: Any, name: str, values: np.ndarray) -> None:
    total.update(f"{name}{values.dtype}{values.shape}".encode())
    total.update(np.ascontiguousarray(values).tobytes())


def _entry(value: Any) -> LayerSensitivity:
    gain = float(value["gain"])
    if not (np.isfinite(gain) and gain > 0):
        raise ValueError(f"gain {gain}: expected a positive number")
    return LayerSensitivity(gain, tuple((float(error), float(cost)) for error, cost in value.get("points", [])))
