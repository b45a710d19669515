"""Batches of an epoch: every sample at most once, of one shape each, the same for the same epoch and step."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import builders
import numpy as np
from onnx_compress.compiler.pipeline.data import Feeds
from onnx_compress.runtime.data import Input, Samples, load_data
from onnx_compress.runtime.training.batches import TeacherBatches
from onnx_compress.runtime.training.engine import Program
from onnx_compress.runtime.training.shapes import open_programs

OPEN = Input("x", np.dtype(np.float32), (None, 1, 2, None))


def lines(*counts: int) -> Samples:
    """Numbered samples, so many of width 1, 2, ..."""
    widths = [width for width, count in enumerate(counts, 1) for _ in range(count)]
    return load_data([np.full((1, 1, 2, width), number, np.float32) for number, width in enumerate(widths)], [OPEN])


def numbers(batches: TeacherBatches, epoch: int) -> list[list[int]]:
    every = [batches.batch(epoch, step)["x"] for step in range(batches.steps)]
    return [batch[:, 0, 0, 0].astype(int).tolist() for batch in every]


def test_an_epoch_of_one_shape():
    found = numbers(TeacherBatches(lines(7), np.arange(7), 3, None, {}), 0)
    assert [len(batch) for batch in found] == [3, 3] and len({row for batch in found for row in batch}) == 6


def test_an_epoch_of_several_shapes():
    data = lines(7, 2, 6)
    batches = TeacherBatches(data, np.arange(15), 3, None, {})
    for epoch in (0, 1):
        found = numbers(batches, epoch)
        assert sorted(len(batch) for batch in found) == [2, 3, 3, 3, 3]
        assert len({row for batch in found for row in batch}) == 14
        assert found == numbers(batches, epoch)
    assert numbers(batches, 0) != numbers(batches, 1)


class Widths:
    """An engine whose loss is the width of its program's batch."""

    name = "widths"

    @contextmanager
    def open(self, program: Program) -> Generator[Any]:
        yield self.Trainer(program.model.graph.input[0].type.tensor_type.shape.dim[3].dim_value)

    class Trainer:
        def __init__(self, width: int):
            self.width = width

        def gradients(self, parameters: Any, feeds: Feeds) -> tuple[float, dict[str, Any]]:
            return float(self.width), {}


def test_a_batch_goes_to_the_program_of_its_shape():
    texts = [f"g (float[2,1,2,{width}] x) => (float y) {{ y = ReduceMean<keepdims=0>(x) }}" for width in (3, 5)]
    with open_programs(Widths(), [Program(builders.proto(text), {}) for text in texts]) as trainer:
        for width in (5, 3):
            assert trainer.gradients({}, {"x": np.zeros((2, 1, 2, width)), "more": np.zeros(1)})[0] == width
