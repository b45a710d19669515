"""What each method keeps of CIFAR-10 networks: a JSON line per network, pipeline and kind of data.

    python benchmarks/methods.py [--networks resnet20,resnet56] [--methods sbf,codebook] [--ratios 0.65,0.5]

No gradient steps. `data` tells lines fitted on unlabelled training images from data-free ones; `top1` is on all 10,000
test images with onnxruntime, `file` the size relative to the original's, `seconds` the wall time of the passes,
`cpu_seconds` their processor time, `errors` the relative lost output energy (weight energy without data) per layer.
Where a method saves storage and no work, a ratio is one of the parameters (`filter-summary`, `sbf-dense`), or of bits
(`codebook`, which ignores the ratios). Assets are those of `accuracy.py`.

    python benchmarks/methods.py --table results/methods.jsonl

prints such lines as one table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from accuracy import top1

ASSETS = Path(__file__).resolve().parents[2] / "shared"
PREPROCESS = "mean=0.485,0.456,0.406:std=0.229,0.224,0.225"
METHODS = {
    "basis": "basis:macs={ratio:g}",
    "basis-channel": "basis:macs={ratio:g}:form=channel",
    "sparse-lowrank": "sparse-lowrank:macs={ratio:g}",
    "sbf": "sbf:macs={ratio:g}",
    "sbf-threshold": "sbf:macs={ratio:g}:select=threshold",
    "sbf-plugin": "sbf:macs={ratio:g}:form=plugin",
    "sbf-dense": "sbf:form=dense:params={ratio:g}",
    "filter-summary": "filter-summary:ratio={inverse:.4g}",
}
FIXED = {"codebook": ("codebook:entries=256", "codebook:entries=16", "codebook:entries=4")}


def measure(network: str, pipeline: str, assets: str, samples: int) -> dict[str, Any]:
    """Compress one network and score it; runs in a fresh process. `samples` 0: without data."""
    from onnx_compress.api import compress, load_samples
    from onnx_compress.compiler.errors import CompressError
    from onnx_compress.runtime.session import Session

    folder = Path(assets)
    source = folder / "models" / f"{network}.onnx"
    training = folder / "data" / "cifar10_train10k.npz"
    given: dict[str, Any] = {"data": training, "samples": samples, "preprocess": PREPROCESS} if samples else {}
    line: dict[str, Any] = {"benchmark": "methods", "network": network, "pipeline": pipeline, "data": bool(samples)}
    begun = time.process_time()
    try:
        result = compress(source, pipeline, target="ort", **given)
    except CompressError as error:
        return {**line, "error": str(error)}
    used = time.process_time() - begun
    with tempfile.TemporaryDirectory() as place:
        stored = result.save(Path(place) / "small.onnx")
    test = load_samples(result.graph, folder / "data" / "cifar10_test.npz", PREPROCESS)
    before, after = result.report["before"], result.report["after"]
    return {
        **line,
        "macs": round(after["macs"] / before["macs"], 4),
        "params": round(after["params"] / before["params"], 4),
        "file": round(stored / source.stat().st_size, 4),
        "top1": top1(Session(result.proto), test),
        "seconds": round(sum(record.seconds for record in result.records), 1),
        "cpu_seconds": round(used, 1),
        "errors": {
            decision.node: round(float(decision.figures["error"]), 5)
            for record in result.records
            for decision in record.result.decisions
            if "error" in decision.figures
        },
    }


def pipelines(methods: list[str], ratios: list[float]) -> Iterator[str]:
    for method in methods:
        if method in FIXED:
            yield from FIXED[method]
        else:
            yield from (METHODS[method].format(ratio=ratio, inverse=1 / ratio) for ratio in ratios)


def table(lines: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Markdown: a row per network and pipeline, data-driven beside data-free."""
    pairs: dict[tuple[str, str], dict[bool, dict[str, Any]]] = {}
    for line in lines:
        pairs.setdefault((line["network"], line["pipeline"]), {})[line["data"]] = line
    yield "| network | pipeline | MACs | params | file | top-1 | mean error | s (CPU) | top-1 without data | s (CPU) |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for (network, pipeline), found in pairs.items():
        yield (
            "| "
            + " | ".join([network, f"`{pipeline}`", *cells(found.get(True)), *cells(found.get(False))[3::2]])
            + " |"
        )


def cells(line: dict[str, Any] | None) -> list[str]:
    """MACs, params, file, top-1, mean error of the layers, seconds."""
    if line is None or "error" in line:
        return ["", "", "", "not reached" if line else "", "", ""]
    errors = list(line["errors"].values())
    shares = [f"{line[key]:.3f}" for key in ("macs", "params", "file")]
    mean = f"{sum(errors) / len(errors):.4f}" if errors else ""
    return [*shares, f"{line['top1']:.2f}", mean, f"{line['seconds']:.0f} ({line['cpu_seconds']:.0f})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default="resnet20")
    parser.add_argument("--methods", default=",".join([*METHODS, *FIXED]))
    parser.add_argument("--ratios", default="0.8,0.65,0.5,0.36")
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--table", type=Path, help="print the lines of this file as a table, and measure nothing")
    args = parser.parse_args()
    if args.table:
        print("\n".join(table(json.loads(line) for line in args.table.read_text(encoding="utf-8").splitlines())))
        return
    ratios = [float(ratio) for ratio in args.ratios.split(",")]
    context = multiprocessing.get_context("spawn")
    for network in args.networks.split(","):
        for pipeline in pipelines(args.methods.split(","), ratios):
            for samples in (args.samples, 0):
                with context.Pool(1) as pool:
                    print(json.dumps(pool.apply(measure, (network, pipeline, str(args.assets), samples))), flush=True)


if __name__ == "__main__":
    main()
