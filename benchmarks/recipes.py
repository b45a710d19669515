"""What the recipes do to networks: a JSON line per network and recipe, as `docs/generator/recipes.py` reads it.

    python benchmarks/recipes.py [--networks squeezenet,yolox] [--recipes small,xavier-int8] [--folder out/recipes]

A recipe runs by the command line for the Xavier, on unlabelled pictures, with no budget beside its own. `ms` is the
estimate for the file at batch 1, the figure that of the task, with the pairs as they are written, on pictures that
nothing was fitted to. Networks and pictures are those of `peers.py`; `sample` is the network of `models/` with the
images beside it. A recipe that wrote the same bytes as one before it is `same_as` that one; one
that failed has no line.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accuracy import ASSETS
from peer_networks import VALUES, Kind, kind_of
from peer_tools import Peer
from peers import LONGEST_REASON, apart

RESULTS = Path(__file__).parent / "results" / "recipes.jsonl"
MODELS = Path(__file__).parents[1] / "models"
TITLES = {
    "sample": "ResNet-20, CIFAR-10",
    "resnet56": "ResNet-56, CIFAR-10",
    "squeezenet": "SqueezeNet 1.1",
    "efficientnet": "EfficientNet-Lite0",
    "mobilenetv2": "MobileNetV2",
    "yolox": "YOLOX-nano",
    "fastestdet": "FastestDet",
    "deeplab": "DeepLab v3, MobileNetV2 0.5",
}
PICTURES = {"resnet56": 10_000}
"""That judge, where all of a test set takes no longer."""
RECIPES = "safe", "small", "fastest", "xavier-int8"
WORDS = {"top1": "top-1", "map50": "mAP50", "miou": "mIoU"}
Line = dict[str, Any]


def prepare_sample(_assets: Path, _name: str, network: Path, images: Path, samples: int) -> None:
    import shutil

    import numpy as np
    from onnx_compress.api import load_samples
    from onnx_compress.compiler.graph.io import load

    shutil.copyfile(MODELS / "resnet20_cifar10.onnx", network)
    data = load_samples(load(network).graph, f"{MODELS / 'cifar10_sample.npz'}#train_images", "cifar10", samples)
    np.save(images, np.concatenate([next(iter(feeds.values())) for feeds in data.batches(samples)]))


def judge_sample(_assets: Path, _name: str, _source: Path, small: Path, _images: int) -> Line:
    command = [sys.executable, "-m", "onnx_compress", "eval", str(small), "--json"]
    command += ["--data", str(MODELS / "cifar10_sample.npz"), "--preprocess", "cifar10"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"top1": round(100 * found["top1"], 1), "images": found["samples"]}


def no_settings(_: Peer) -> tuple[str, ...]:
    return ()


def kind(assets: Path, name: str) -> Kind:
    return Kind(prepare_sample, judge_sample, no_settings) if name == "sample" else kind_of(assets, name)


def lines(network: str, args: argparse.Namespace) -> Iterator[Line]:
    """That of the network itself, then one per recipe."""
    source, images = (args.folder / f"{network}.{ending}" for ending in ("onnx", "npy"))
    if not images.exists():
        apart(args.limit, kind(args.assets, network).prepare, args.assets, network, source, images, args.samples)
    known: dict[str, str] = {}
    for recipe in args.recipes.split(","):
        small = args.folder / f"{network}-{recipe}.onnx"
        line = {"benchmark": "recipes", "network": TITLES[network], "recipe": recipe}
        report = reported(source, images, small, recipe, args.limit)
        if "failed" in report:
            print(json.dumps({**line, **report}), file=sys.stderr, flush=True)
            continue
        if not known:
            yield {**line, "recipe": "", **times(report), **judged(network, source, source, args)}
        digest = hashlib.sha256(small.read_bytes()).hexdigest()
        yield {**line, **({"same_as": known[digest]} if digest in known else row(network, source, small, report, args))}
        known.setdefault(digest, recipe)


def reported(source: Path, images: Path, small: Path, spec: str, limit: float) -> Line:
    """The report of one run of the command line, or why there is none."""
    command = [sys.executable, "-m", "onnx_compress", str(source), "--data", str(images), "-p", spec]
    command += ["-o", str(small), "--overwrite", "--quiet", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {limit:g} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1][:LONGEST_REASON]}
    return json.loads(done.stdout)


def row(network: str, source: Path, small: Path, report: Line, args: argparse.Namespace) -> Line:
    """The figures of a recipe; `note`: how many Convs stay in float."""
    in_float = sum(int(entry["metrics"].get("skipped", 0)) for entry in report["passes"] if entry["name"] == "quantize")
    note = {"note": f"{in_float} in float"} if in_float else {}
    milliseconds = round(report["after"]["latency"]["ms"], 4)
    return {"ms": milliseconds, **judged(network, source, small, args), **note, "date": str(datetime.date.today())}


def times(report: Line) -> Line:
    """Of the network before, and quantized as a whole."""
    steps = {step["step"]: round(step["ms"], 4) for step in report["times"]}
    return {"ms_fp16": steps["in FP16"], "ms_int8": steps["in INT8"]}


def judged(network: str, source: Path, file: Path, args: argparse.Namespace) -> Line:
    judge = kind(args.assets, network).judge
    assert judge is not None, "networks with random weights have no title"
    found = apart(args.limit, judge, args.assets, network, source, file, PICTURES.get(network, args.images))
    key = next(name for name in VALUES.values() if name in found)
    line = {"metric": WORDS[key], "figure": found[key], "pictures": found["images"]}
    return line | ({"agreement": found["agreement"]} if "agreement" in found else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default=",".join(TITLES))
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--samples", type=int, default=512, help="unlabelled pictures")
    parser.add_argument("--images", type=int, default=500, help="pictures that judge")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for a recipe, and for judging it")
    parser.add_argument("--folder", type=Path, default=Path("out/recipes"), help="where the rewritten networks go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="lines are added to it")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for network in args.networks.split(","):
        for line in lines(network, args):
            print(json.dumps(line), flush=True)
            with args.results.open("a", encoding="utf-8") as out:
                out.write(f"{json.dumps(line)}\n")


if __name__ == "__main__":
    main()
