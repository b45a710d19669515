"""How long models take with onnxruntime on this machine, beside each other.

Runs are interleaved, round by round, each round in another order, so that what else the machine does hits all models
alike. Of a model the median is reported; against the first model the median of the ratios within each round, with an
interval that holds 95 % of that median's bootstrap distribution: where it holds 1, no difference was shown.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError, UsageError
from ..compiler.graph.io import load, to_proto
from ..compiler.graph.shapes import input_shapes
from ..compiler.jobs import check_threads
from ..compiler.pipeline.data import Feeds
from ..compiler.pipeline.progress import Progress, silent
from .session import import_onnxruntime
from .verify import random_feeds

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
WARM_UP, DRAWS, LEVEL = 3, 1000, 0.95
GPU = "pip install 'onnx-compress[gpu]' on a machine with an NVIDIA GPU"


@dataclass(frozen=True)
class Timed:
    """One model. Milliseconds per run of the whole batch; the ratio is to the first model.

    Attributes:
        quartiles: of the milliseconds.
        interval: of the ratio; (1, 1) for the first model.
    """

    model: str
    median: float
    quartiles: tuple[float, float]
    ratio: float
    interval: tuple[float, float]


def bench(
    models: Sequence[Path],
    batch: int | None = None,
    threads: int = 1,
    provider: str = "cpu",
    runs: int = 50,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Timed]:
    """Time models on random inputs.

    Args:
        batch: samples per run; None: as the model is exported, 1 where that is open.
        threads: of onnxruntime, on the CPU.
        provider: cpu, cuda or tensorrt.
        runs: rounds that count; a few before them do not.

    Raises:
        UsageError: the provider is not there, or a model has another batch.
        CompressError: onnxruntime cannot load or run a model.
    """
    check_threads(threads, "--threads")
    found = [_runnable(path, batch, threads, provider, seed) for path in models]
    rng = np.random.default_rng(seed)
    times = np.zeros((len(found), runs))
    with progress("runs", runs + WARM_UP) as advance:
        for run in range(-WARM_UP, runs):
            for index in map(int, rng.permutation(len(found))):
                times[index, max(run, 0)] = _once(*found[index])
            advance()
    times *= 1e3
    return [_timed(str(path), own, times[0], rng) for path, own in zip(models, times, strict=True)]


def paired_ratio(own: np.ndarray, first: np.ndarray, rng: np.random.Generator) -> tuple[float, tuple[float, float]]:
    """The median of own / first, (rounds,) each, and its bootstrapped interval."""
    ratios = own / first
    drawn = np.median(rng.choice(ratios, (DRAWS, len(ratios))), axis=1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(np.median(ratios)), (float(low), float(high))


def bench_feeds(graph: gs.Graph, batch: int | None, rng: np.random.Generator) -> Feeds:
    """Random values for every input: standard normal, or 0 and 1 for integers."""
    shapes = input_shapes(graph)
    inputs = [tensor for tensor in graph.inputs if isinstance(tensor, gs.Variable) and tensor.name in shapes]
    shapes |= {tensor.name: _batched(tensor, shapes[tensor.name], batch) for tensor in inputs}
    return random_feeds(graph, rng, shapes, "bench")


def _batched(tensor: gs.Variable, shape: tuple[int, ...], batch: int | None) -> tuple[int, ...]:
    """`shape` with the batch in its first dimension, where that is open."""
    if not shape or batch is None or tensor.shape is None:
        return shape
    fixed = tensor.shape[0]
    if isinstance(fixed, int) and fixed > 0:
        if fixed != batch:
            raise UsageError(f"'{tensor.name}' has a batch of {fixed}, not {batch}", "--batch", f"--batch {fixed}")
        return shape
    return (batch, *shape[1:])


def _timed(model: str, own: np.ndarray, first: np.ndarray, rng: np.random.Generator) -> Timed:
    low, median, high = (float(value) for value in np.quantile(own, [0.25, 0.5, 0.75]))
    ratio, interval = paired_ratio(own, first, rng)
    return Timed(model, median, (low, high), ratio, interval)


def _runnable(path: Path, batch: int | None, threads: int, provider: str, seed: int) -> tuple[Any, Feeds]:
    model = load(path)
    feeds = bench_feeds(model.graph, batch, np.random.default_rng(seed))
    return _session(to_proto(model), threads, provider, path), feeds


def _session(model: onnx.ModelProto, threads: int, provider: str, path: Path) -> Any:
    """A session as an application would make it: Q/DQ pairs become INT8 kernels."""
    runtime = import_onnxruntime()
    if PROVIDERS[provider] not in runtime.get_available_providers():
        there = ", ".join(name for name, full in PROVIDERS.items() if full in runtime.get_available_providers())
        raise UsageError(f"onnxruntime has no {provider} here; it has {there}", "--provider", GPU)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=[PROVIDERS[provider]])
    except Exception as error:
        raise _refused(path, error) from error
    if PROVIDERS[provider] not in session.get_providers():
        raise UsageError(f"{provider} cannot be started here", "--provider", GPU)
    return session


def _once(session: Any, feeds: Mapping[str, np.ndarray]) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    try:
        session.run(None, dict(feeds))
    except Exception as error:
        raise _refused(Path("bench"), error) from error
    return time.perf_counter() - started


def _refused(path: Path, error: Exception) -> CompressError:
    line = (str(error).strip() or repr(error)).splitlines()[0]
    return CompressError(f"onnxruntime refuses it: {line}", str(path), "onnx-compress check --target ort shows why")
