"""A trainer whose loss is half the squared distance to given values."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
from onnx_compress.compiler.pipeline.data import Feeds
from onnx_compress.runtime.training.ort.environment import is_ready
from ort_environment import FOLDER

Arrays = Mapping[str, np.ndarray]


class Distance:
    def __init__(self, wanted: Arrays):
        self.wanted = wanted
        self.steps = 0

    def arrays(self, values: Arrays) -> dict[str, np.ndarray]:
        return {name: np.array(array, np.float32) for name, array in values.items()}

    def numpy(self, arrays: Arrays) -> dict[str, np.ndarray]:
        return {name: array.copy() for name, array in arrays.items()}

    def gradients(self, parameters: Arrays, feeds: Feeds) -> tuple[float, dict[str, np.ndarray]]:
        self.steps += 1
        away = {name: parameters[name] - feeds["noise"] - self.wanted[name] for name in parameters}
        return float(sum((array**2).sum() for array in away.values()) / 2), away


class Noise:
    """Batches of one small number each."""

    steps = 5

    def batch(self, epoch: int, step: int) -> Feeds:
        return {"noise": np.float32(np.random.default_rng((epoch, step)).normal() * 1e-3)}


def installed(engine: str) -> bool:
    """Whether an engine of that name can be used here."""
    if engine == "torch":
        return find_spec("torch") is not None
    return is_ready(FOLDER)
