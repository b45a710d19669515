"""Gradients by onnxruntime-training, the engine that needs no PyTorch.

The library derives the gradient graph of a model; that graph runs like any other. Nothing of the library's own training
loop is used, and no state is kept: parameters and batch go in, loss and gradients come out. The library lives in a
process of an environment of its own (`environment`, `process`); arrays pass through a mapped file.

What it has no gradient of is written in operators that have one, see `expansions`.
"""

from __future__ import annotations

import json
import mmap
import tempfile
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ....compiler.errors import CompressError
from ....compiler.files import writing
from ....compiler.jobs import inner_threads
from ....compiler.pipeline.data import Feeds
from ..engine import Program
from .environment import find_interpreter
from .expansions import differentiable
from .process import START, STEP, Process

ALIGNMENT = 64
ALL_CORES = 0
Places = dict[str, tuple[str, list[int], int]]
"""Where arrays lie in the mapped memory: dtype, shape, offset in bytes."""


@dataclass
class OrtEngine:
    """See the module docstring.

    Attributes:
        python: the interpreter; default: that of `environment.default_folder()`.
        threads: of the library; default: all cores, inside a job one.
        start, step: seconds after which a library that does not come up, or a step, is given up.
    """

    name: str = "ort"
    python: Path | None = None
    threads: int | None = None
    start: float = START
    step: float = STEP

    @contextmanager
    def open(self, program: Program) -> Generator[OrtTrainer]:
        """See `training.engine.Engine.open`."""
        python = self.python or find_interpreter()
        with tempfile.TemporaryDirectory(prefix="onnx-compress-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            places = _Places.of(program)
            with writing(folder):
                _write_request(folder, program, places, self.threads or inner_threads() or ALL_CORES)
            with closing(Process(python, folder, self.start, self.step)) as process:
                process.ready()
                yield OrtTrainer(process, places, _map(folder / "memory"))


class OrtTrainer:
    """A program in a worker; arrays are NumPy's."""

    def __init__(self, process: Process, places: _Places, memory: np.ndarray):
        self._process = process
        self._inputs = {name: _view(memory, place) for name, place in places.inputs.items()}
        self._gradients = {name: _view(memory, place) for name, place in places.gradients.items()}

    def arrays(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.array(value, order="C") for name, value in values.items()}

    def gradients(self, parameters: Mapping[str, np.ndarray], feeds: Feeds) -> tuple[float, dict[str, np.ndarray]]:
        """See `training.engine.Trainer.gradients`."""
        given = {**feeds, **parameters}
        missing = sorted(self._inputs.keys() - given.keys())
        if missing:
            raise CompressError("the batch does not have it", missing[0], "one array per input")
        for name, values in given.items():
            self._put(name, values)
        loss = self._process.step()
        return loss, {name: view.copy() for name, view in self._gradients.items()}

    def numpy(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in arrays.items()}

    def _put(self, name: str, values: np.ndarray) -> None:
        view = self._inputs.get(name)
        if view is None or view.shape != np.shape(values):
            expected = "no such input" if view is None else f"expected {view.shape}"
            raise CompressError(f"{expected}, got an array of shape {np.shape(values)}", name, "one array per input")
        np.copyto(view, values, casting="same_kind")


@dataclass(frozen=True)
class _Places:
    inputs: Places
    gradients: Places
    size: int

    @classmethod
    def of(cls, program: Program) -> _Places:
        shapes = {value.name: _array_type(value) for value in program.model.graph.input}
        inputs, middle = _layout(shapes, 0)
        gradients, size = _layout({name: shapes[name] for name in program.parameters}, middle)
        return cls(inputs, gradients, max(size, 1))


def _array_type(value: onnx.ValueInfoProto) -> tuple[np.dtype[Any], list[int]]:
    tensor = value.type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    return onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), dims


def _layout(shapes: Mapping[str, tuple[np.dtype[Any], list[int]]], offset: int) -> tuple[Places, int]:
    places: Places = {}
    for name, (dtype, shape) in shapes.items():
        places[name] = (dtype.name, shape, offset)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    return places, offset


def _write_request(folder: Path, program: Program, places: _Places, threads: int) -> None:
    prepared = differentiable(program.model)
    (folder / "graph.onnx").write_bytes(prepared.graph.SerializeToString())
    (folder / "straight.onnx").write_bytes(prepared.straight.SerializeToString())
    with (folder / "memory").open("wb") as file:
        file.truncate(places.size)  # zeros: the gradients of parameters that are not read
    request = {
        "graph": "graph.onnx",
        "straight": "straight.onnx",
        "memory": "memory",
        "loss": program.model.graph.output[0].name,
        "threads": threads,
        "inputs": places.inputs,
        "gradients": {name: place for name, place in places.gradients.items() if name in prepared.read},
    }
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")


def _map(path: Path) -> np.ndarray:
    with path.open("r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)


def _view(memory: np.ndarray, place: tuple[str, list[int], int]) -> np.ndarray:
    dtype, shape, offset = place
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return memory[offset : offset + size].view(dtype).reshape(shape)
