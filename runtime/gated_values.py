"""What tensors in front of gates are, channel by channel, and what gates make of them: `graph.quantization.gates`.

Of a tensor about `VALUES` are kept, at positions spread over the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.quantization.gates import Gate
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.progress import Progress, silent
from .calibration import observe
from .patches import output_rows, sample_positions
from .session import segment_session

VALUES = 2**18
RANK = 8
"""Of what a gate is given: no less than that of its constants."""
Function = Callable[[np.ndarray], np.ndarray]


@dataclass
class ChannelValues:
    """Rows of a tensor, entries along axis 1 (n, C), and how far all its values reach."""

    parts: list[np.ndarray]
    low: float = 0.0
    high: float = 0.0

    @property
    def rows(self) -> np.ndarray:
        """(n, C) float32."""
        return np.concatenate(self.parts)

    def add(self, x: np.ndarray, rng: np.random.Generator, per_sample: int) -> None:
        """`x`: (samples, C, ...)."""
        if not x.size:
            return
        values = x.reshape(*x.shape[:2], -1)
        positions = sample_positions(rng, len(x), values.shape[2:], len(x) * max(1, per_sample // values.shape[1]))
        self.parts.append(output_rows(values, positions, 1)[:, 0])
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))


def channel_values(
    graph: gs.Graph,
    names: Sequence[str],
    data: Data,
    samples: int,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> dict[str, ChannelValues]:
    """Tensor name -> values on the first `samples` of `data`; each has an axis of channels."""
    found = {name: ChannelValues([]) for name in names}
    per_sample = VALUES // max(1, min(samples, data.samples))
    for values in observe(graph, names, data, samples, progress, "gates"):
        for name in names:
            found[name].add(values[name], rng, per_sample)
    return found


def gate_function(graph: gs.Graph, gate: Gate) -> Function:
    """f, of float32 arrays of any shape: float64 in that shape."""
    name, result = gate.tensor.name, gate.result.name
    run = segment_session(graph, gate.nodes, {name: np.zeros((1,) * RANK, np.float32)}, [result]).run

    def function(x: np.ndarray) -> np.ndarray:
        flat = x.astype(np.float32, copy=False).reshape(*(1,) * (RANK - 1), -1)
        return run({name: flat})[result].reshape(x.shape).astype(np.float64)

    return function
