"""What time costs in quality, method by method: a JSON line per network, method and time.

    python benchmarks/frontiers.py --networks resnet20,resnet56 --methods depth,fast
    python benchmarks/frontiers.py --networks squeezenet,efficientnet --shares 0.8,0.6 --folder out/frontiers
    python benchmarks/frontiers.py --table benchmarks/results/frontiers.jsonl

A time is a share of what INT8 alone takes by the estimate for the Xavier, at batch 1: the pipeline is
`METHOD:latency=SHARE,quantize`, and `quantize` the end of every curve where nothing but the weights is rounded. What
has been measured (`--results`) is not measured again, so that the benchmark can be stopped and goes on.

The points of one network and method share a process, and what a pass measures whatever its limit is; each file is what
a run alone writes. `seconds` and `cpu_seconds` of the first of them hold that measuring.

The figure of the task (`top1`, `map50`, `miou`), `agreement` and `output_error` are those of `peers.py`, on pictures
that nothing was fitted to. `ms` is the estimate for the device, `latency_ratio` the time of onnxruntime on one thread
relative to the original, the two timed in turns: pairs for TensorRT are not what onnxruntime is fastest with. What a
method cannot reach says so in `failed`. Networks and pictures are those of `peers.py`, too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from accuracy import ASSETS
from json_lines import emit
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.measurements import Measurements
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.drivers.compress import compress
from peer_networks import VALUES, kind_of, timed
from peers import LONGEST_REASON, apart
from tables import table

METHODS = "quantize", "basis", "prune", "depth", "fast"
SHARES = "0.9", "0.8", "0.7", "0.6", "0.5"
RESULTS = Path(__file__).parent / "results" / "frontiers.jsonl"
KEY = "network", "method", "share"
Line = dict[str, Any]


def pipeline(method: str, share: str | None) -> str:
    return "quantize" if share is None else f"{method}:latency={share},quantize"


def points(networks: Iterable[str], methods: Sequence[str], shares: Sequence[str]) -> list[Line]:
    """What is to be measured; `quantize` by itself comes first, as all others are relative to it."""
    chosen = [(network, method) for network in networks for method in ("quantize", *methods)]
    found = [
        dict(zip(KEY, (network, method, share), strict=True))
        for network, method in chosen
        for share in ([None] if method == "quantize" else shares)
    ]
    return list({tuple(point.values()): point for point in found}.values())


MEASURED = Measurements()
"""What the points that this process has done share."""


def compressed(source: Path, images: Path, small: Path, spec: str) -> Line:
    """Figures of one run, or why there are none."""
    started, worked = time.monotonic(), time.process_time()
    options = RunOptions(data=str(images), output=str(small), overwrite=True)
    try:
        report: Any = compress(str(source), spec, options, silent, None, measurements=MEASURED).report
    except CompressError as error:
        return {"failed": str(error).splitlines()[-1][:LONGEST_REASON]}
    before, after = (report[side]["latency"]["ms"] for side in ("before", "after"))
    macs = report["after"]["macs"] / report["before"]["macs"]
    taken = time.monotonic() - started, time.process_time() - worked
    seconds = dict(zip(("seconds", "cpu_seconds"), (round(each, 1) for each in taken), strict=True))
    return {"ms": after, "ms_before": before, "macs": macs, **seconds}


class Worker:
    """A process for all points of a network and method: a new one where one of them has taken too long."""

    def __init__(self, limit: float):
        self._limit = limit
        self._pool: Pool | None = None

    def run(self, function: Callable[..., Line], *arguments: Any) -> Line:
        self._pool = self._pool or multiprocessing.get_context("spawn").Pool(1)
        try:
            return self._pool.apply_async(function, arguments).get(self._limit)
        except multiprocessing.TimeoutError:
            self.end()
            return {"failed": f"more than {self._limit:g} s"}

    def end(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()
        self._pool = None


def measured(point: Line, worker: Worker, args: argparse.Namespace) -> Line:
    """One line."""
    network, share = point["network"], point["share"]
    kind = kind_of(args.assets, network)
    source, images = (args.folder / f"{network}.{ending}" for ending in ("onnx", "npy"))
    small = args.folder / f"{network}-{point['method']}-{share or 1}.onnx"
    if not images.exists():
        apart(args.limit, kind.prepare, args.assets, network, source, images, args.samples)
    spec = pipeline(point["method"], share)
    line = {"benchmark": "frontiers", **point, "pipeline": spec}
    line |= worker.run(compressed, source, images, small, spec)
    if "failed" not in line and kind.judge is not None:
        line |= apart(args.limit, kind.judge, args.assets, network, source, small, args.images)
        line["latency_ratio"] = apart(args.limit, timed, source, small, images, args.lock)["latency_ratio"]
    return {**line, "date": str(datetime.date.today())}


def read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def figure(line: Mapping[str, Any]) -> str:
    """With INT8 kernels."""
    found = (line.get(f"{value}_fused", line.get(value)) for value in ("top1", *VALUES.values()))
    return next((f"{value:.2f}" for value in found if value is not None), "")


def rows(lines: Sequence[Line]) -> Iterable[list[str]]:
    """A row per network and share, a column per method: figure at the time that it reaches, in milliseconds."""
    known = {tuple(line[key] for key in KEY): line for line in lines}
    for network, share in dict.fromkeys((line["network"], line["share"]) for line in lines):
        cells = [known.get((network, method, share), {}) for method in METHODS]
        yield [
            network,
            share or "1",
            *(f"{figure(cell)} at {cell['ms']:.3f}" if "ms" in cell else "" for cell in cells),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default="resnet20,resnet56")
    parser.add_argument("--methods", default=",".join(METHODS[1:]))
    parser.add_argument("--shares", default=",".join(SHARES))
    parser.add_argument("--samples", type=int, default=512, help="unlabelled training images")
    parser.add_argument("--images", type=int, default=10000, help="test images")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for a point, and for judging it")
    parser.add_argument("--lock", type=Path, help="a file that is locked while milliseconds are taken")
    parser.add_argument("--folder", type=Path, default=Path("out/frontiers"), help="where the rewritten networks go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="lines are added to it")
    parser.add_argument("--table", type=Path, help="print the lines of a file as a table, and measure nothing")
    args = parser.parse_args()
    if args.table:
        print(table(["network", "share", *METHODS], rows(read(args.table))))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    done = {tuple(line[key] for key in KEY) for line in read(args.results)}
    every = points(args.networks.split(","), args.methods.split(","), args.shares.split(","))
    missing = [point for point in every if tuple(point.values()) not in done]
    for _, alike in groupby(missing, key=lambda point: (point["network"], point["method"])):
        worker = Worker(args.limit)
        try:
            for point in alike:
                emit(measured(point, worker, args), args.results)
        finally:
            worker.end()


if __name__ == "__main__":
    main()
