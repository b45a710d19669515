"""What trains: a program, and engines that differentiate it.

A `Program` is one training step's forward half as an ONNX model: parameters and a batch go in, the loss comes out.
Everything that can be said in the graph is (losses, teacher's outputs, regularisers), so that an engine has to do one
thing: the gradient of a scalar. Optimiser, schedule, augmentation, checkpoints and the choice of the best weights are
the loop's, once for all engines (`training.loop`).

    engine      where                                           for
    torch       PyTorch, in this process                        speed, CUDA, the most operators
    ort         onnxruntime-training, in an environment of      no PyTorch: a round trip as ONNX through its last
                its own (`training.ort`)                        release, 1.19.2
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx

from ...compiler.pipeline.data import Feeds

Array = Any  # of the engine: numpy's or torch's; both know the arithmetic operators


@dataclass(frozen=True, eq=False)
class Program:
    """From parameters and a batch to a loss.

    Attributes:
        model: inputs are the parameters and the batch, all of fixed shape (the batch size included), float32 or int64;
            its first output is the loss, a float32 scalar. Operators of the default domain only.
        parameters: the inputs that are trained, with the values they start from, float32.
    """

    model: onnx.ModelProto
    parameters: Mapping[str, np.ndarray]

    @property
    def feeds(self) -> list[str]:
        """The inputs that a batch has to bring."""
        return [value.name for value in self.model.graph.input if value.name not in self.parameters]


class Trainer(Protocol):
    """A program that an engine has taken in."""

    def arrays(self, values: Mapping[str, np.ndarray]) -> dict[str, Array]:
        """The engine's own arrays, where it computes."""
        ...

    def gradients(self, parameters: Mapping[str, Array], feeds: Feeds) -> tuple[float, dict[str, Array]]:
        """The loss, and its gradient by parameter, at `parameters` for one batch.

        Raises:
            CompressError: the engine failed or died.
        """
        ...

    def numpy(self, arrays: Mapping[str, Array]) -> dict[str, np.ndarray]:
        """Copies in this process's memory."""
        ...


class Engine(Protocol):
    name: str

    def open(self, program: Program) -> AbstractContextManager[Trainer]:
        """Take a program in.

        Raises:
            CompressError: the engine is not installed, or lacks an operator or its gradient.
        """
        ...
