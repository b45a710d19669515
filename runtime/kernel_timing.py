"""Times of the kernels that onnxruntime runs on this machine.

onnxruntime's profiler times every node of every run, but adds microseconds of its own to each. So that these can be
taken off, a chain of nodes that do nothing runs along (`PROBE`):

    time of a node = its profiled time - profiled time of a node of the chain + time of one without the profiler

which is from the end of one node to the end of the next. Of the times of a node the lowest quarter is averaged: what
else the machine does only ever adds.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..compiler.errors import CompressError
from .session import PROVIDERS, import_onnxruntime

KEPT = 0.25
FEWEST, MOST = 5, 60
KERNEL = "_kernel_time"
PROBE, PROBES, CHAIN = "clock.probe", 8, 256


@dataclass(frozen=True)
class TimedKernel:
    """A node as onnxruntime ran it: fused, in the layout that it chose; `ms` for the whole batch."""

    name: str
    op: str
    ms: float

    @property
    def is_conv(self) -> bool:
        return "Conv" in self.op and "Transpose" not in self.op


def kernel_times(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], threads: int = 1, seconds: float = 0.05
) -> list[TimedKernel]:
    """The kernels of a model in `seconds` of runs, but at least `FEWEST` and at most `MOST` of them.

    A kernel is called after its node, or after the node's output where onnxruntime put another in its place.

    Raises:
        CompressError: onnxruntime is missing, or cannot run the model.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    _add_chain(probed.graph, PROBES)
    with tempfile.TemporaryDirectory() as folder:
        options = _options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = _session(probed, options)
        _run(session, {**feeds, PROBE: np.zeros(1, np.float32)}, seconds)
        times = _node_times(Path(session.end_profiling()))
    added = fastest_quarter([ms for (name, _), found in times.items() if name.startswith(PROBE) for ms in found])
    extra = empty_node(threads) - added
    return [
        TimedKernel(name, op, max(fastest_quarter(found[1:]) + extra, 1e-5))
        for (name, op), found in times.items()
        if not name.startswith(PROBE)
    ]


@lru_cache
def empty_node(threads: int = 1) -> float:
    """Milliseconds that a node of the chain takes without the profiler."""
    model = helper.make_model(helper.make_graph([], "chain", [], []))
    model.opset_import[0].version, model.ir_version = 17, 8
    _add_chain(model.graph, CHAIN)
    options = _options(threads)
    return fastest_quarter(_run(_session(model, options), {PROBE: np.zeros(1, np.float32)}, 0.05)) * 1e3 / CHAIN


def _add_chain(graph: onnx.GraphProto, length: int) -> None:
    """Sums of one number with itself, three operands like a Conv's."""
    names = [PROBE, *(f"{PROBE}.{index}" for index in range(length))]
    for before, after in pairwise(names):
        graph.node.append(helper.make_node("Sum", [before] * 3, [after], after))
    graph.input.append(helper.make_tensor_value_info(PROBE, TensorProto.FLOAT, [1]))
    graph.output.append(helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [1]))


def _node_times(profile: Path) -> dict[tuple[str, str], list[float]]:
    """Milliseconds by name and operator; the profiler counts whole microseconds, rounded down."""
    events: list[dict[str, Any]] = json.loads(profile.read_text(encoding="utf-8"))
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            times[event["name"].removesuffix(KERNEL), event["args"]["op_name"]].append((event["dur"] + 0.5) / 1e3)
    return times


def fastest_quarter(times: list[float]) -> float:
    """The mean of the lowest quarter."""
    return float(np.mean(np.sort(times)[: max(1, int(KEPT * len(times)))]))


@lru_cache
def processor() -> str:
    """The processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _options(threads: int) -> Any:
    options = import_onnxruntime().SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    return options


def _session(model: onnx.ModelProto, options: Any) -> Any:
    try:
        return import_onnxruntime().InferenceSession(model.SerializeToString(), options, providers=list(PROVIDERS))
    except Exception as error:
        raise _failed(error) from error


def _run(session: Any, feeds: Mapping[str, np.ndarray], seconds: float) -> list[float]:
    """Seconds per run."""
    times: list[float] = []
    while len(times) < FEWEST or (sum(times) < seconds and len(times) < MOST):
        started = time.perf_counter()
        try:
            session.run(None, dict(feeds))
        except Exception as error:
            raise _failed(error) from error
        times.append(time.perf_counter() - started)
    return times


def _failed(error: Exception) -> CompressError:
    line = str(error).strip().splitlines()[0]
    return CompressError(f"onnxruntime cannot run the model: {line}", "clock=measured", "use the target's cost model")
