"""How long a compression takes, by stage: a JSON line per network and number of images.

    python benchmarks/speed.py [--networks resnet50,vgg16] [--images 0,256] [--pipeline basis:macs=0.5] [--jobs 2]
                               [--memory 2GB]
    python benchmarks/speed.py --native [...]
    python benchmarks/speed.py --networks chain-8x64,chain-16x64,chain-8x128 --images 0,64,128       how it grows

Networks are those of `architectures.py` with random weights, or ONNX files; images are random numbers of the input's
shape, 0 of them compress from the weights alone. Every run is a fresh process. `stages` are the parts that a progress
bar is shown for and `passes` the passes around them, in seconds of wall time; `cpu` is processor time of all threads.
`gflops` is how fast the machine was before and after, in float32 products: seconds of two runs can only be compared
where it is alike.

With --native the run is sampled by py-spy (`pip install py-spy`, and the right to trace a process), and `share` says
where the time of all threads went: in BLAS and LAPACK, in onnxruntime, or elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx

SIDE = 224
RATE = 50
KINDS = {"blas": ("openblas", "mkl", "blis", "lapack"), "onnxruntime": ("onnxruntime",)}


class Stages:
    """A progress that measures."""

    def __init__(self) -> None:
        self.seconds = defaultdict[str, float](float)

    @contextmanager
    def __call__(self, stage: str, total: int) -> Generator[Any]:
        started = time.perf_counter()
        yield lambda note="": None
        self.seconds[stage] += time.perf_counter() - started


def measure(model: str, pipeline: str, jobs: int, memory: str | None, images: str | None) -> dict[str, Any]:
    """One run, here."""
    import resource

    from onnx_compress.api import compress

    stages, before = Stages(), product_speed()
    started, used = time.perf_counter(), time.process_time()
    given: dict[str, Any] = {"data": images, "samples": None, "jobs": jobs, "memory": memory}
    found = compress(model, pipeline, target="ort", progress=stages, **given)
    compressed = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found.save(Path(folder) / "out.onnx")
        saved = time.perf_counter()
    return {
        "seconds": round(saved - started, 1),
        "cpu": round(time.process_time() - used, 1),
        "passes": {record.name: round(record.seconds, 1) for record in found.records},
        "stages": {name: round(value, 1) for name, value in stages.seconds.items()},
        "save": round(saved - compressed, 1),
        "gflops": [before, product_speed()],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def product_speed(size: int = 2000) -> int:
    """GFLOP/s of a float32 matrix product: how fast the machine is just now, best of five."""
    a = np.ones((size, size), np.float32)

    def seconds() -> float:
        started = time.perf_counter()
        np.dot(a, a)
        return time.perf_counter() - started

    return round(2e-9 * size**3 / min(seconds() for _ in range(5)))


def shares(samples: str) -> dict[str, float]:
    """Of py-spy's raw lines, `frame;frame;... count`: where the innermost frames lie."""
    counts = Counter[str]()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        leaf = stack.rpartition(";")[2]
        kind = next((kind for kind, marks in KINDS.items() if any(mark in leaf.lower() for mark in marks)), "rest")
        counts[kind] += int(count)
    return {kind: round(counts[kind] / max(1, counts.total()), 3) for kind in (*KINDS, "rest")}


def started(words: list[str], native: bool) -> dict[str, Any]:
    """The answer of a fresh process."""
    command = [sys.executable, __file__, "--worker", *words]
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "samples"
        if native:
            command = ["py-spy", "record", "--native", "-r", str(RATE), "-f", "raw", "-o", str(raw), "--", *command]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        answer = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("{")))
        return {**answer, "share": shares(raw.read_text())} if native else answer


def prepare(network: str, count: int, folder: Path) -> tuple[str, str | None]:
    """Files of the network and of so many images."""
    from architectures import build

    path = Path(network) if network.endswith(".onnx") else folder / f"{network}.onnx"
    if not path.exists():
        onnx.save(build(network), path)
    if not count:
        return str(path), None
    (dims,) = [entry.type.tensor_type.shape.dim for entry in onnx.load(path, load_external_data=False).graph.input[:1]]
    shape = [dim.dim_value or SIDE for dim in dims][1:]
    images = folder / f"{count}.npy"
    np.save(images, np.random.default_rng(0).standard_normal((count, *shape), np.float32))
    return str(path), str(images)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        model, pipeline, jobs, memory, images = sys.argv[2:]
        print(json.dumps(measure(model, pipeline, int(jobs), memory or None, images or None)), flush=True)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="resnet50,vgg16")
    parser.add_argument("--images", default="0,256")
    parser.add_argument("--pipeline", default="basis:macs=0.5")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--memory", default="", help="as of a compression")
    parser.add_argument("--native", action="store_true", help="sample the process with py-spy")
    args = parser.parse_args()
    for network in args.networks.split(","):
        for count in map(int, args.images.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                model, images = prepare(network, count, Path(folder))
                words = [model, args.pipeline, str(args.jobs), args.memory, images or ""]
                found = started(words, args.native)
            line = {"benchmark": "speed", "network": network, "images": count, "pipeline": args.pipeline}
            load = [round(value, 1) for value in os.getloadavg()]
            print(json.dumps({**line, "jobs": args.jobs, "memory": args.memory, **found, "load": load}), flush=True)


if __name__ == "__main__":
    main()
