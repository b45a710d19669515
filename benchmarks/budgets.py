"""Budgets that are searched, judged on other images: a JSON line per pipeline.

    python benchmarks/budgets.py [--network resnet56] [--only basis:agreement=0.97] [--samples 1024]

The network is calibrated on the first --samples test images (labels: for accuracy-drop only), and judged on the rest by
`agreement` with the original network and `top1` of both; `judged` is what the search saw on its held-out half.
--assets is a folder as in `accuracy.py`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import ASSETS, PREPROCESS


def measure(network: str, pipeline: str, assets: Path, samples: int) -> dict[str, Any]:
    """Compress, then compare on the images that were not used."""
    from onnx_compress.api import compress
    from onnx_compress.runtime.quality.comparison import Accuracy, Agreement
    from onnx_compress.runtime.quality.walk import compared
    from onnx_compress.runtime.session import Session

    stored = np.load(assets / "data" / "cifar10_test.npz")
    path = assets / "models" / f"{network}.onnx"
    started = time.perf_counter()
    images, labels = stored["images"], stored["labels"].astype(np.int64)
    result = compress(
        path, pipeline, data=images[:samples], labels=labels[:samples], samples=samples, preprocess=PREPROCESS
    )
    elapsed = time.perf_counter() - started
    rest = _rest(result.graph, images[samples:])
    sessions = Session(_original(path)), Session(result.proto)
    alike, right = compared(*sessions, rest, Agreement(), Accuracy(labels[samples:]))
    found = result.records[-1]
    return {
        "benchmark": "budgets",
        "network": network,
        "pipeline": pipeline,
        "samples": samples,
        "macs": round(result.report["after"]["macs"] / result.report["before"]["macs"], 4),
        "agreement": round(100 * (alike.value), 2),
        "top1": [round(100 * (right.original or 0.0), 2), round(100 * right.value, 2)],
        "judged": {name: round(value, 4) for name, value in found.result.metrics.items() if "kept" not in name},
        "notes": found.result.notes,
        "seconds": round(sum(record.seconds for record in result.records), 1),
        "total_seconds": round(elapsed, 1),
    }


def _rest(graph: Any, images: np.ndarray) -> Any:
    from onnx_compress.api import load_samples

    return load_samples(graph, images, PREPROCESS)


def _original(path: Path) -> Any:
    import onnx

    return onnx.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--network", default="resnet56")
    parser.add_argument("--only", action="append", help="a pipeline to measure (default: agreement and accuracy-drop)")
    parser.add_argument("--samples", type=int, default=1024)
    args = parser.parse_args()
    for pipeline in args.only or ["basis:agreement=0.97", "basis:accuracy-drop=0.5"]:
        print(json.dumps(measure(args.network, pipeline, args.assets, args.samples)), flush=True)


if __name__ == "__main__":
    main()
