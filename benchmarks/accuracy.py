"""Accuracy of compressed CIFAR-10 networks: a JSON line per pipeline and network.

    python benchmarks/accuracy.py [--networks resnet20,resnet56] [--only basis:macs=0.5] [--target xavier]

Each line is measured in a process of its own: compression on unlabelled training images (no labels, no gradient steps),
then top-1 on all 10,000 test images with onnxruntime. `seconds` is the wall time of the passes, `peak_mb` the process's
peak memory up to their end, `floor` and `goal` what is asked of the line. `top1_fused` is, after `quantize`, the
accuracy with onnxruntime's INT8 kernels, which saturate on processors without VNNI (see `runtime.session`).

The networks and images are read from a folder given by --assets: `models/<network>.onnx`,
`data/cifar10_train10k.npz` and `data/cifar10_test.npz` (arrays `images`, uint8 NHWC, and `labels`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parents[2] / "shared"
PREPROCESS = "mean=0.485,0.456,0.406:std=0.229,0.224,0.225"
ORIGINAL = {"resnet20": 91.73, "resnet56": 93.39}
ROWS: list[tuple[str, str, float | None, float | None]] = [
    ("resnet20", "basis:macs=0.5", 86.5, 90.0),
    ("resnet56", "basis:macs=0.5", 90.9, 92.4),
    ("resnet56", "basis:macs=0.36", 86.6, 91.0),
    ("resnet20", "quantize", 91.55, 91.59),
    ("resnet56", "quantize", 93.24, 93.38),
    ("resnet56", "basis:macs=0.5,quantize", None, None),
]
ABLATIONS: list[tuple[str, str, float | None, float | None]] = [
    ("resnet20", "basis:macs=0.5:form=channel", None, None),
    ("resnet20", "basis:macs=0.5:form=separable", None, None),
    ("resnet20", "basis:macs=0.5:refit=none", None, None),
    ("resnet56", "basis:macs=0.5:form=channel", None, None),
    ("resnet56", "basis:macs=0.36:form=channel", None, None),
]


def top1(session: Any, test: Any) -> float:
    """Percent of the labelled samples that a session gets right."""
    from onnx_compress.runtime.quality.comparison import Accuracy
    from onnx_compress.runtime.quality.walk import compared

    return round(100 * compared(session, session, test, Accuracy(test.labels))[0].value, 2)


def measure(network: str, pipeline: str, assets: str, samples: int, target: str) -> dict[str, Any]:
    """Compress one network and score it; runs in a fresh process."""
    from onnx_compress.api import compress, load_samples
    from onnx_compress.runtime.session import Session

    folder = Path(assets)
    started = time.perf_counter()
    result = compress(
        folder / "models" / f"{network}.onnx",
        pipeline,
        data=folder / "data" / "cifar10_train10k.npz",
        samples=samples or None,
        preprocess=PREPROCESS,
        target=target,
    )
    elapsed, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    test = load_samples(result.graph, folder / "data" / "cifar10_test.npz", PREPROCESS)
    right = top1(Session(result.proto), test)
    integer = "quantize" in pipeline
    fused = top1(Session(result.proto, fused=True), test) if integer else right
    before, after = result.report["before"], result.report["after"]
    metrics = [record.result.metrics for record in result.records]
    return {
        "benchmark": "accuracy",
        "network": network,
        "pipeline": pipeline,
        "target": target,
        "samples": samples,
        "macs": round(after["macs"] / before["macs"], 4),
        "params": round(after["params"] / before["params"], 4),
        "top1": right,
        "top1_fused": fused,
        "original": ORIGINAL.get(network),
        "seconds": round(sum(record.seconds for record in result.records), 1),
        "total_seconds": round(elapsed, 1),
        "peak_mb": round(peak),
        **{key: round(found[key], 4) for found in metrics for key in ("units_removed",) if key in found},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default="resnet20,resnet56")
    parser.add_argument("--only", action="append", help="a pipeline to measure (default: all listed)")
    parser.add_argument("--ablations", action="store_true", help="measure the variants that were not made the default")
    parser.add_argument("--samples", type=int, default=1168, help="an eighth is held out: 1,024 are fitted to")
    parser.add_argument("--target", default="xavier")
    args = parser.parse_args()
    networks = args.networks.split(",")
    rows = [row for row in (ABLATIONS if args.ablations else ROWS) if row[0] in networks]
    if args.only:
        listed = {(network, pipeline): (floor, goal) for network, pipeline, floor, goal in rows}
        rows = [(n, p, *listed.get((n, p), (None, None))) for p in args.only for n in networks]
    context = multiprocessing.get_context("spawn")
    for network, pipeline, floor, goal in rows:
        with context.Pool(1) as pool:
            line = pool.apply(measure, (network, pipeline, str(args.assets), args.samples, args.target))
        print(json.dumps({**line, "floor": floor, "goal": goal}), flush=True)


if __name__ == "__main__":
    main()
