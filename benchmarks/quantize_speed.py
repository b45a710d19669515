"""What `quantize` costs beside onnxruntime's static quantization of the same pictures: a JSON line per run.

    python benchmarks/quantize_speed.py resnet18:64 resnet50:256 [--rounds 3] [--pipeline quantize]
    python benchmarks/quantize_speed.py mobilenet_v2.onnx:pictures.npy ...

Networks are those of `architectures.py` with random weights and random pictures, so many, or ONNX files with an array
of samples. The tools run in turns, each in a process of its own: onnxruntime with minmax ranges and signed codes, one
picture at a time, as its documentation has it; ours with the defaults, which includes that the result is judged.

`cpu_seconds` is processor time of all threads without the imports, `peak_mb` the peak memory with them and with the
pages of the array that were read; `silence` is the longest time between two steps of progress, in seconds of wall time.
The last line of a network has the medians of the rounds and `ratio`, that of the processor times of a round.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from peer_tools import PEERS

THEIRS, OURS = "onnxruntime", "onnx-compress"


class Silence:
    """A progress that measures how long nothing is said."""

    def __init__(self) -> None:
        self.last, self.longest = time.perf_counter(), 0.0

    def heard(self, note: str = "") -> None:
        now = time.perf_counter()
        self.last, self.longest = now, max(self.longest, now - self.last)

    @contextmanager
    def __call__(self, stage: str, total: int) -> Generator[Any]:
        self.heard()
        yield self.heard
        self.heard()


def work(tool: str, source: Path, images: Path, pipeline: str) -> dict[str, Any]:
    """Quantize one network, here."""
    from onnx_compress.api import compress

    with tempfile.TemporaryDirectory() as folder:
        target, silence = Path(folder) / "small.onnx", Silence()
        started, used = time.perf_counter(), time.process_time()
        if tool == OURS:
            compress(source, pipeline, data=images, samples=None, progress=silence).save(target)
        else:
            PEERS[THEIRS].rewrite(source, target, np.load(images, mmap_mode="r"), "s8s8 minmax")
        silence.heard()
        line = {
            "seconds": round(time.perf_counter() - started, 2),
            "cpu_seconds": round(time.process_time() - used, 2),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
    return line | ({"silence": round(silence.longest, 1)} if tool == OURS else {})


def started(tool: str, source: Path, images: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The answer of a fresh process; what else it writes goes away."""
    command = [sys.executable, __file__, "--worker", tool, str(source.resolve()), str(images.resolve()), args.pipeline]
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return json.loads(run.stdout.splitlines()[-1])


def prepare(network: str, folder: Path) -> tuple[Path, Path]:
    """Files of the network and of its pictures."""
    import onnx
    from architectures import build

    model, _, images = network.rpartition(":")
    if model.endswith(".onnx"):
        return Path(model), Path(images)
    source, target = folder / f"{model}.onnx", folder / f"{model}.npy"
    onnx.save(build(model), source)
    np.save(target, np.random.default_rng(0).standard_normal((int(images), 3, 224, 224), np.float32))
    return source, target


def measure(network: str, args: argparse.Namespace) -> None:
    found: dict[str, list[dict[str, Any]]] = {THEIRS: [], OURS: []}
    with tempfile.TemporaryDirectory() as folder:
        source, images = prepare(network, Path(folder))
        line = {"benchmark": "quantize_speed", "network": source.stem, "samples": len(np.load(images, mmap_mode="r"))}
        for index in range(args.rounds):
            for tool, runs in found.items():
                runs.append(started(tool, source, images, args))
                print(json.dumps({**line, "round": index, "tool": tool, **runs[-1]}), flush=True)
    ratios = [ours["cpu_seconds"] / theirs["cpu_seconds"] for theirs, ours in zip(*found.values(), strict=True)]
    medians = {
        tool: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for tool, runs in found.items()
    }
    print(json.dumps({**line, "ratio": round(statistics.median(ratios), 2), **medians}), flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        tool, source, images, pipeline = sys.argv[2:]
        print(f"\n{json.dumps(work(tool, Path(source), Path(images), pipeline))}", flush=True)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="+", metavar="NETWORK:SAMPLES")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pipeline", default="quantize")
    args = parser.parse_args()
    for network in args.networks:
        measure(network, args)


if __name__ == "__main__":
    main()
