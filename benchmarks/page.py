"""The page of a report of a large network: its size, and how long it takes to write. A JSON line per network.

    python benchmarks/page.py [--networks densenet169] [--pipeline basis:macs=0.5,quantize] [--samples 32] [--side 64]

The networks are those of `architectures.py` with random weights, compressed on random images of a small side: a report
has as many layers, curves and histograms as for real ones. `seconds` is the median of --runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import architectures
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description="Size and time of a report's page.")
    parser.add_argument("--networks", default="densenet169")
    parser.add_argument("--pipeline", default="basis:macs=0.5,quantize")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    from onnx_compress.api import compress
    from onnx_compress.compiler.report.loading import load_report
    from onnx_compress.compiler.report.page import to_html

    images = np.random.default_rng(0).standard_normal((args.samples, 3, args.side, args.side), np.float32)
    for network in args.networks.split(","):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.json"
            model = architectures.build(network)
            for size in model.graph.input[0].type.tensor_type.shape.dim[2:]:
                size.dim_value = args.side
            compress(model, args.pipeline, data=images, target="ort", report=path)
            times: list[float] = []
            for _ in range(args.runs):
                started = time.perf_counter()
                page = to_html(load_report(path))
                times.append(time.perf_counter() - started)
            nodes = {entry["node"] for one in load_report(path)["passes"] for entry in one["decisions"]}
            line = {
                "benchmark": "page",
                "network": network,
                "pipeline": args.pipeline,
                "nodes": len(nodes),
                "json_bytes": path.stat().st_size,
                "bytes": len(page.encode()),
                "seconds": round(statistics.median(times), 2),
            }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
