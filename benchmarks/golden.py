"""Digests of what fixed commands write, to show that a change of structure changes no file: a JSON line per file.

    python benchmarks/golden.py > before.jsonl        and, after the change:
    python benchmarks/golden.py > after.jsonl && diff before.jsonl after.jsonl
    python benchmarks/golden.py prune resumed         only the runs with one of these words in their names

Every pass, every target, runs with and without data, a resumed run, a frontier and a bisection, on the shipped network
and on three architectures with random weights (a chain with fire modules, one with residuals, a depthwise one). What
differs from run to run by its nature (seconds, dates, paths, drawings with them) is not looked at. The digests hold for
one machine and one set of package versions: another BLAS rounds differently.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnx
from architectures import build
from onnx_compress.cli import main

MODELS = Path(__file__).parents[1] / "models"
SAMPLE = f"{MODELS / 'cifar10_sample.npz'}"
SHIPPED = str(MODELS / "resnet20_cifar10.onnx")
ARCHITECTURES = ("squeezenet1_1", "resnet18", "mobilenet_v1")
DATA = ["--data", f"{SAMPLE}#train_images", "--preprocess", "cifar10", "--samples", "256"]
LABELLED = ["--data", SAMPLE, "--labels", "labels", "--preprocess", "cifar10", "--samples", "256"]
VOLATILE = ("seconds", "model", "latency_ms", "versions", "data")

WITH_DATA: dict[str, Sequence[str]] = {
    "default": ["-p", "basis,quantize"],
    "basis-macs": ["-p", "basis:macs=0.5"],
    "basis-output-sensitivity": ["-p", "basis:macs=0.5:sensitivity=output"],
    "basis-accuracy-drop-quantize": ["-p", "basis:accuracy-drop=3,quantize", *LABELLED],
    "prune-latency": ["-p", "prune:latency=0.95"],
    "basis-set": ["-p", "basis:rank=0.5", "--set", "layer3.*:basis.rank=4", "--exclude", "layer1", "--seed", "3"],
    "prune": ["-p", "prune:macs=0.6"],
    "prune-gaussian": ["-p", "prune:macs=0.7:criterion=gaussian:repair=bias"],
    "prune-agreement": ["-p", "prune:agreement=0.9"],
    "small-on-ort": ["-p", "small", "--target", "ort"],
    "sbf": ["-p", "sbf:macs=0.7"],
    "sbf-dense": ["-p", "sbf:form=dense:params=0.6", "--target", "ort"],
    "sparse-lowrank": ["-p", "sparse-lowrank:macs=0.6:iterations=10"],
    "filter-summary": ["-p", "filter-summary:ratio=1.5", "--target", "ort"],
    "codebook": ["-p", "codebook:entries=16", "--target", "trt10"],
    "finetune": ["-p", "basis:macs=0.5,finetune:engine=torch:threads=1:epochs=1:samples=256:batch=64"],
    "xavier-dla": ["-p", "quantize", "--target", "xavier-dla"],
    "xavier-8.2": ["-p", "quantize:method=entropy", "--target", "xavier-8.2"],
    "xavier-8.0": ["-p", "basis:macs=0.6,quantize", "--target", "xavier-8.0", "--power-mode", "30W"],
    "trt10": ["-p", "quantize", "--target", "trt10"],
}
WITHOUT_DATA: dict[str, Sequence[str]] = {
    "plain": [],
    "basis-params": ["-p", "basis:params=0.6", "--target", "ort"],
    "plugin-form": ["-p", "sbf:form=plugin:macs=0.7"],
    "weights": ["-p", "quantize", "--target", "ort"],
    "prune-codebook": ["-p", "prune:share=0.25,codebook", "--target", "ort"],
}


def commands(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and arguments of every run that writes one model."""
    yield from ((f"shipped/{name}", [SHIPPED, *DATA, *options]) for name, options in WITH_DATA.items())
    yield from ((f"shipped/{name}", [SHIPPED, *options]) for name, options in WITHOUT_DATA.items())
    for name in ARCHITECTURES:
        model, samples = folder / f"{name}.onnx", folder / "samples.npy"
        onnx.save(build(name), model)
        np.save(samples, np.random.default_rng(0).standard_normal((8, 3, 224, 224), np.float32))
        data = ["--data", str(samples)]
        yield f"{name}/basis-quantize", [str(model), "-p", "basis:macs=0.7,quantize", *data]
        yield f"{name}/prune", [str(model), "-p", "prune:macs=0.8:sensitivity=energy", *data]
        yield f"{name}/weights", [str(model), "-p", "basis:macs=0.6,quantize", "--target", "ort"]


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and sha256 of every file in `folder` and below, of JSON without what varies."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".onnx", ".data", ".calib"):
            yield str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "frontier.json":
            text = json.dumps(_stable(json.loads(path.read_text())), sort_keys=True)
            yield str(path.relative_to(folder)), hashlib.sha256(text.encode()).hexdigest()


def _stable(value: object) -> object:
    if isinstance(value, dict):
        return {key: _stable(entry) for key, entry in value.items() if key not in VOLATILE}
    return [_stable(entry) for entry in value] if isinstance(value, list) else value


def run(name: str, arguments: Sequence[str], folder: Path) -> None:
    """Run a command that writes to `folder`, and print what it left; its seconds go to the standard error."""
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        code = main([*arguments])
    print(f"{time.perf_counter() - started:6.1f} s  {name}", file=sys.stderr)
    print(json.dumps({"run": name, "exit": code}), flush=True)
    show(name, folder)


def show(name: str, folder: Path) -> None:
    for file, digest in digests(folder):
        print(json.dumps({"run": name, "file": file, "sha256": digest}), flush=True)


def whole_runs(folder: Path, words: Sequence[str]) -> None:
    """What calls the pass manager more than once: resume, frontier, bisection."""
    if chosen("shipped/resumed", words):
        resumed(folder, folder / "steps")
    out = folder / "frontier"
    points = ["--points", "2", "--low", "0.4", "--high", "0.8", "--jobs", "1", "-o", str(out / "frontier.json")]
    if chosen("shipped/frontier", words):
        run("shipped/frontier", ["frontier", SHIPPED, "-q", *LABELLED, "--method", "basis,quantize", *points], out)
    out = folder / "bisect"
    check = ["--check", "agreement>=0.97", "--folder", str(out), "--json"]
    if chosen("shipped/bisect", words):
        run("shipped/bisect", ["bisect", SHIPPED, *DATA, "-p", "basis:macs=0.4,quantize", *check], out)


def resumed(folder: Path, steps: Path) -> None:
    """A run, and one that begins as it did, with the same folder of steps."""
    for pipeline in ("basis:macs=0.6", "basis:macs=0.6,quantize"):
        out = folder / pipeline.partition(",")[2]
        written = ["--dump-dir", str(steps), "-o", str(out / "model.onnx")]
        run(f"shipped/resumed {pipeline}", [SHIPPED, "-q", *DATA, "-p", pipeline, *written], out)
    show("shipped/resumed steps", steps)


def chosen(name: str, words: Sequence[str]) -> bool:
    return not words or any(word in name for word in words)


def golden(words: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        for number, (name, arguments) in enumerate(commands(folder)):
            if chosen(name, words):
                out = folder / f"run{number}"
                run(name, [*arguments, "-q", "-o", str(out / "model.onnx")], out)
        whole_runs(folder, words)


if __name__ == "__main__":
    golden(sys.argv[1:])
