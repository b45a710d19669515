"""Measured latency budgets: a JSON line per network and batch, the compressed model timed against the original.

    python benchmarks/latency.py [--networks resnet56,resnet50,vgg16,squeezenet1_1] [--latency 0.6] [--batches 1,32]

Each network is compressed without data by `basis:latency=L:clock=measured:batch=B`, then both models are timed with
onnxruntime on --threads, in turns, so that what else the machine does falls on both alike. `ratio` is the ratio of
their medians, `ratio_least` that of their shortest runs, which a busy machine disturbs less; `share` is the speed-up as
a share of the ratio of MACs; `expected` is what the prices promise. `seconds` is the wall time of the pass, the timing
of its shapes included where they are not known yet.

Networks are those of `architectures.py` with random weights, or `models/<network>.onnx` in the folder --assets.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from accuracy import ASSETS

TIMED_SECONDS = 20.0
FEWEST = 5


def measure(network: str, latency: float, batch: int, threads: int, assets: Path, form: str) -> dict[str, Any]:
    from onnx_compress.api import compress
    from onnx_compress.compiler.graph.io import from_proto, to_proto

    model = _load(network, assets)
    pipeline = f"basis:latency={latency}:clock=measured:batch={batch}:threads={threads}:form={form}"
    started = time.perf_counter()
    result = compress(model, pipeline, target="ort")
    seconds = time.perf_counter() - started
    (found,) = [record.result for record in result.records if record.name == "basis"]
    times = in_turns(to_proto(from_proto(model)), result.proto, batch, threads)
    medians = [float(np.median(one)) for one in times]
    return {
        "benchmark": "latency",
        "network": network,
        "pipeline": pipeline,
        "macs": round(found.metrics["macs_kept"], 4),
        "expected": round(found.metrics["latency_kept"], 4),
        "ratio": round(medians[1] / medians[0], 4),
        "ratio_least": round(min(times[1]) / min(times[0]), 4),
        "share": round(float(found.metrics["macs_kept"]) * medians[0] / medians[1], 4),
        "ms": [round(1e3 * value, 3) for value in medians],
        "runs": len(times[0]),
        "seconds": round(seconds, 1),
    }


def in_turns(first: onnx.ModelProto, second: onnx.ModelProto, batch: int, threads: int) -> tuple[list[float], ...]:
    """Seconds per run of both models."""
    from onnx_compress.runtime.session import Session

    sessions = [Session(model, threads) for model in (first, second)]
    feeds = {tensor.name: _random(tensor, batch) for tensor in first.graph.input}
    times: tuple[list[float], list[float]] = ([], [])
    for session in sessions:
        session.run(feeds)
    started = time.perf_counter()
    while len(times[1]) < FEWEST or time.perf_counter() - started < TIMED_SECONDS:
        for session, found in zip(sessions, times, strict=True):
            before = time.perf_counter()
            session.run(feeds)
            found.append(time.perf_counter() - before)
    return times


def _random(tensor: onnx.ValueInfoProto, batch: int) -> np.ndarray:
    sizes = [dim.dim_value for dim in tensor.type.tensor_type.shape.dim][1:]
    return np.random.default_rng(0).standard_normal((batch, *sizes), np.float32)


def _load(network: str, assets: Path) -> onnx.ModelProto:
    path = assets / "models" / f"{network}.onnx"
    if path.exists():
        return onnx.load(path)
    from architectures import build

    return build(network)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default="resnet56,resnet50,vgg16,squeezenet1_1")
    parser.add_argument("--latency", type=float, default=0.6)
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--form", default="auto", help="of basis")
    args = parser.parse_args()
    for network in args.networks.split(","):
        for batch in map(int, args.batches.split(",")):
            line = measure(network, args.latency, batch, args.threads, args.assets, args.form)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
