"""What recipes do to networks: a JSON line for a network as it comes, and one for each recipe.

    python benchmarks/recipes.py --networks squeezenet,yolox [--recipes safe,small] [--folder out/recipes]

Times are the estimate for the Xavier, one sample; figures those of the task on pictures that nothing was fitted to,
with the pairs as they are written. Networks, calibration pictures and judges are those of `peers.py`. Lines are added
to `results/recipes.jsonl`, of which `docs/generator/recipes.py` makes tables: the last of a network and recipe counts.
A note says how many layers stay in float. The first recipe has to be one that quantizes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from accuracy import ASSETS
from peer_networks import VALUES, kind_of
from peers import apart

RESULTS = Path(__file__).parent / "results" / "recipes.jsonl"
NAMES = {
    "resnet20": "ResNet-20, CIFAR-10",
    "resnet56": "ResNet-56, CIFAR-10",
    "squeezenet": "SqueezeNet 1.1",
    "efficientnet": "EfficientNet-Lite0",
    "mobilenetv2": "MobileNetV2",
    "yolox": "YOLOX-nano",
    "fastestdet": "FastestDet",
    "deeplab": "DeepLab v3, MobileNetV2 0.5",
}
METRICS = {"top1": "top-1", "map50": "mAP50", "miou": "mIoU"}
IN_INT8 = "in INT8"
Line = dict[str, Any]


def compressed(source: Path, images: Path, small: Path, recipe: str, limit: float) -> Line:
    """The report of one run of the command line."""
    command = [sys.executable, "-m", "onnx_compress", str(source), "--data", str(images), "-p", recipe]
    options = ["-o", str(small), "--overwrite", "--quiet", "--json"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, timeout=limit, check=True)
    return json.loads(done.stdout)


def figure(judged: Line) -> tuple[str, float]:
    """The metric's name, and its value."""
    key = next(value for value in VALUES.values() if value in judged)
    return METRICS[key], round(judged[key], 2)


def original(key: str, report: Line, judged: Line) -> Line:
    """The line of a network as it comes, from the report of a recipe that quantizes it."""
    metric, value = figure(judged)
    int8 = next((step["ms"] for step in report["times"] if step["step"] == IN_INT8), report["after"]["latency"]["ms"])
    times = {"ms_fp16": round(report["before"]["latency"]["ms"], 4), "ms_int8": round(int8, 4)}
    named = {"benchmark": "recipes", "network": NAMES[key], "key": key, "recipe": ""}
    return {**named, **times, "metric": metric, "figure": value, "pictures": judged["images"]}


def rewritten(key: str, recipe: str, report: Line, judged: Line) -> Line:
    """The line of what a recipe makes of it."""
    count = sum("stays in float" in each["reason"] for entry in report["passes"] for each in entry["decisions"])
    line = {"benchmark": "recipes", "network": NAMES[key], "recipe": recipe}
    line |= {"ms": round(report["after"]["latency"]["ms"], 4), "figure": figure(judged)[1]}
    return line | ({"note": f"{count} in float"} if count else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default=",".join(NAMES))
    parser.add_argument("--recipes", default="safe,small,fastest,xavier-int8")
    parser.add_argument("--samples", type=int, default=1168, help="unlabelled pictures, as many as there are")
    parser.add_argument("--images", type=int, default=10000, help="pictures to judge on")
    parser.add_argument("--limit", type=float, default=3600, help="seconds for a run")
    parser.add_argument("--folder", type=Path, default=Path("out/recipes"), help="where the rewritten networks go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="lines are added to it")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for key in args.networks.split(","):
        kind, (source, images) = kind_of(args.assets, key), (args.folder / f"{key}.{end}" for end in ("onnx", "npy"))
        apart(args.limit, kind.prepare, args.assets, key, source, images, args.samples)
        first = True
        for recipe in args.recipes.split(","):
            small = args.folder / f"{key}-{recipe}.onnx"
            report = compressed(source, images, small, recipe, args.limit)
            judged = (args.limit, kind.judge, args.assets, key, source)
            lines = [rewritten(key, recipe, report, apart(*judged, small, args.images))]
            if first:
                lines.insert(0, original(key, report, apart(*judged, source, args.images)))
            first = False
            with args.results.open("a", encoding="utf-8") as out:
                out.writelines(f"{json.dumps(line)}\n" for line in lines)
            print(*map(json.dumps, lines), sep="\n", flush=True)


if __name__ == "__main__":
    main()
