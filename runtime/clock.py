"""Times of the kernels that onnxruntime runs on this machine.

onnxruntime's profiler times every node of every run. Of a node's times the lowest quarter is averaged: what else the
machine does only ever adds. The profiler counts whole microseconds, rounded down; half a one is added.
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
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..compiler.errors import CompressError
from .session import PROVIDERS, import_onnxruntime

KEPT = 0.25
FEWEST, MOST = 5, 60
CHAIN = 256


@dataclass(frozen=True)
class Kernel:
    """A node as onnxruntime ran it: fused, in the layout that it chose; `ms` for the whole batch."""

    op: str
    ms: float

    @property
    def is_conv(self) -> bool:
        return "Conv" in self.op and "Transpose" not in self.op


def kernel_times(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], threads: int = 1, seconds: float = 0.05
) -> list[Kernel]:
    """The kernels of a model in `seconds` of runs, but at least `FEWEST` and at most `MOST` of them.

    Raises:
        CompressError: onnxruntime is missing, or cannot run the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = _options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = _session(model, options)
        _run(session, feeds, seconds)
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"], event["args"]["op_name"]].append(event["dur"] + 0.5)
    return [Kernel(op, low(found[1:]) / 1e3) for (_, op), found in times.items()]


@lru_cache
def node_overhead(threads: int = 1) -> float:
    """Milliseconds from one node to the next beside their kernels: of a chain of nodes on one number."""
    nodes = [helper.make_node("Neg", [f"t{index}"], [f"t{index + 1}"]) for index in range(CHAIN)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("t0", f"t{CHAIN}")]
    model = helper.make_model(helper.make_graph(nodes, "chain", ends[:1], ends[1:]))
    model.opset_import[0].version, model.ir_version = 17, 8
    options = _options(threads)
    options.graph_optimization_level = import_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
    return low(_run(_session(model, options), {"t0": np.zeros(1, np.float32)}, 0.05)) * 1e3 / CHAIN


def low(times: list[float]) -> float:
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
