"""Training on batches of several shapes: a program for each, as an engine takes programs of fixed shape."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from ...compiler.pipeline.data import Feeds
from .engine import Array, Engine, Program, Trainer

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@contextmanager
def open_programs(engine: Engine, programs: Sequence[Program]) -> Generator[Trainer]:
    """One trainer for all of the programs, which have the same parameters and differ in the shapes of their batches."""
    with ExitStack() as stack:
        trainers = [stack.enter_context(engine.open(program)) for program in programs]
        yield trainers[0] if len(trainers) == 1 else ShapedTrainer(programs, trainers)


class ShapedTrainer:
    """Gives each batch to the trainer whose program is of its shape."""

    def __init__(self, programs: Sequence[Program], trainers: Sequence[Trainer]):
        self._first = trainers[0]
        self._feeds = programs[0].feeds
        self._by_shape = {_declared(program): trainer for program, trainer in zip(programs, trainers, strict=True)}

    def arrays(self, values: Mapping[str, np.ndarray]) -> dict[str, Array]:
        return self._first.arrays(values)

    def gradients(self, parameters: Mapping[str, Array], feeds: Feeds) -> tuple[float, dict[str, Array]]:
        """See `engine.Trainer.gradients`."""
        shapes = tuple((name, feeds[name].shape) for name in self._feeds)
        return self._by_shape[shapes].gradients(parameters, feeds)

    def numpy(self, arrays: Mapping[str, Array]) -> dict[str, np.ndarray]:
        return self._first.numpy(arrays)


def _declared(program: Program) -> Shapes:
    declared = {value.name: value.type.tensor_type.shape.dim for value in program.model.graph.input}
    return tuple((name, tuple(size.dim_value for size in declared[name])) for name in program.feeds)
