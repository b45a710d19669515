"""Ways to say what a layer's error counts, compared by the networks they lead to: a JSON line per way and budget.

    python benchmarks/sensitivity.py [--network resnet20] [--budget macs=0.5] [--tempers 0.25,0.5,0.75,1]

`energy` counts relative lost energy alike everywhere; `output` is measured (see `passes.sensitivity.measure`),
its slopes raised to each of --tempers. Compressed on --samples unlabelled training images, judged on all test images:
`top1`, `agreement` with the original network, and `divergence`, the Kullback-Leibler divergence of the class scores,
which tells near results apart best. --assets is a folder as in `accuracy.py`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from accuracy import ASSETS, PREPROCESS
from onnx_compress.api import compress, load_samples
from onnx_compress.passes.sensitivity import measure as sensitivity
from onnx_compress.passes.sensitivity.measure import divergence
from onnx_compress.passes.sensitivity.table import LayerSensitivity, SensitivityTable
from onnx_compress.runtime.session import Session


def measure(network: str, pipeline: str, assets: Path, samples: int) -> dict[str, Any]:
    """Compress one network and compare it with the original on the test images."""
    path, started = assets / "models" / f"{network}.onnx", time.perf_counter()
    train = assets / "data" / "cifar10_train10k.npz"
    result = compress(path, pipeline, data=train, samples=samples, preprocess=PREPROCESS)
    elapsed = time.perf_counter() - started
    test = load_samples(result.graph, assets / "data" / "cifar10_test.npz", PREPROCESS)
    sessions = [Session(onnx.load(path)), Session(result.proto)]
    a, b = ([list(session.run(feeds).values()) for feeds in test.batches(256)] for session in sessions)
    first, second = (np.concatenate([outputs[0] for outputs in side]).argmax(1) for side in (a, b))
    return {
        "benchmark": "sensitivity",
        "network": network,
        "macs": round(result.report["after"]["macs"] / result.report["before"]["macs"], 4),
        "top1": round(100 * float(np.mean(second == test.labels)), 2),
        "agreement": round(100 * float(np.mean(first == second)), 2),
        "divergence": round(divergence(a, b), 5),
        "seconds": round(elapsed, 1),
    }


def tempered(table: SensitivityTable, temper: float) -> SensitivityTable:
    """The table with its gains as if `TEMPER` were another."""
    power = temper / sensitivity.TEMPER
    layers = {name: LayerSensitivity(entry.gain**power, entry.points) for name, entry in table.layers.items()}
    return SensitivityTable(table.measure, layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--budget", default="macs=0.5")
    parser.add_argument("--tempers", default="0.25,0.5,0.75,1")
    parser.add_argument("--samples", type=int, default=1024)
    args = parser.parse_args()

    def line(way: str, options: str) -> None:
        found = measure(args.network, f"basis:{args.budget}{options}", args.assets, args.samples)
        print(json.dumps({**found, "budget": args.budget, "sensitivity": way}), flush=True)

    line("energy", "")
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "table.json"
        line(f"output, temper {sensitivity.TEMPER}", f":sensitivity=output:sensitivity-file={stored}")
        table = SensitivityTable.load(stored)
        for temper in map(float, args.tempers.split(",")):
            if temper != sensitivity.TEMPER:
                tempered(table, temper).save(stored)
                line(f"output, temper {temper}", f":sensitivity-file={stored}")


if __name__ == "__main__":
    main()
