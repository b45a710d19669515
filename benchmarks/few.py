"""What `finetune` restores of real networks from a few hundred unlabelled pictures: a JSON line per row.

    python benchmarks/few.py [--rows squeezenet-basis,yolox-basis] [--minutes 40] [--options steps=400] [--log FILE]

Networks, pictures and the judge are those of `tools/real.py` of the assets: what is judged was never seen by a fit.
`original`, `plain` and `tuned` are the task's figure of the network, of what the row's first passes leave, and of that
after training; `agreement` where there are classes, in the same order from `plain` on. `curve` has the deciding figure
of every judgement on samples that training held out, the first number of all from the report.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from accuracy import ASSETS
from json_lines import emit
from peer_networks import VALUES, real_networks

ROWS = {
    "squeezenet-basis": ("squeezenet", "basis:macs=0.7", 1000),
    "mobilenetv2-prune": ("mobilenetv2", "prune:macs=0.7", 1000),
    "efficientnet-depth": ("efficientnet", "depth:latency=0.84", 1000),
    "yolox-basis": ("yolox", "basis:macs=0.8", 128),
}
"""Network, what compresses it, pictures."""
Line = dict[str, Any]


def measure(row: str, args: argparse.Namespace) -> Line:
    name, before, pictures = ROWS[row]
    source, tool = real_networks(args.assets)[name], args.assets / "tools" / "real.py"
    images, plain, tuned, report = (args.folder / f"{row}.{end}" for end in ("npz", "plain.onnx", "onnx", "json"))
    finetune = f"finetune:few:teacher={source}:{args.options or f'minutes={args.minutes}'}"
    samples = ("--data", images, "--samples", pictures, "--overwrite")
    if not images.exists():
        run(tool, "data", name, images, "--n", pictures)
    if not plain.exists():
        run("-m", "onnx_compress", source, "-p", before, *samples, "-o", plain)
    begun, spent = time.monotonic(), processor_seconds()
    run("-m", "onnx_compress", plain, "-p", finetune, *samples, "-o", tuned, "--report", report)
    trained = next(
        entry for entry in json.loads(report.read_text(encoding="utf-8"))["passes"] if entry["name"] == "finetune"
    )
    return {
        "benchmark": "few",
        "row": row,
        "network": name,
        "pipeline": f"{before},finetune:few:{args.options or f'minutes={args.minutes}'}",
        "pictures": pictures,
        **figures(*(json.loads(run(tool, "judge", name, file)) for file in (source, plain, tuned))),
        "steps": trained["metrics"]["steps"],
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "processor_minutes": round((processor_seconds() - spent) / 60, 1),
        "curve": curve(trained["metrics"]),
        "date": datetime.date.today().isoformat(),
    }


def figures(original: Line, plain: Line, tuned: Line) -> Line:
    key = next(value for value in VALUES.values() if value in plain)
    found = {"figure": key, "original": original[key], "plain": plain[key], "tuned": tuned[key]}
    return found | ({"agreement": [plain["agreement"], tuned["agreement"]]} if "agreement" in plain else {})


def curve(metrics: dict[str, float]) -> list[float]:
    key = next(name for name in ("divergence", "pixels", "error") if name in metrics)
    return [round(metrics[f"{key}_{number}"], 4) for number in range(1, int(metrics["rounds"]) + 1)]


def run(*command: object) -> str:
    """What Python prints when it runs that."""
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--options", default="", help="of finetune, instead of the minutes")
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--folder", type=Path, default=Path("out/few"))
    parser.add_argument("--log", type=Path, help="append the lines to this file")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for row in args.rows.split(","):
        emit(measure(row, args), args.log)


if __name__ == "__main__":
    main()
