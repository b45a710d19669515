"""Accuracy of pruned CIFAR-10 networks: a JSON line per pipeline and network.

    python benchmarks/prune.py [--networks resnet56] [--only prune:macs=0.6] [--readings] [--torch-pruning]

Each line is measured as in `accuracy` (a process of its own, 1,024 unlabelled training images, no gradient steps, top-1
on all 10,000 test images); `units_removed` is the share of filters that went, those of a residual stream counted once.
The 0.58 and 0.4536 of ResNet-32 are what PFGDF leaves of its MACs and parameters. `seconds` of the first line of a
network includes the measuring of its sensitivities, which the next lines find in the cache. `--readings` compares the
criteria and the readings of the Gaussian one at the same MACs.
`--torch-pruning` adds Torch-Pruning on the same ResNet, built in PyTorch from the ONNX weights, at the same MACs
without fine-tuning; it needs torch, onnx and torch-pruning 1.6 in the interpreter given by `--torch-python`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
from pathlib import Path
from typing import Any

from accuracy import ASSETS, measure

Row = tuple[str, str, float | None]
PLAIN = "prune:criterion=l2:repair=none:macs="
ROWS: list[Row] = [
    ("resnet20", "prune:macs=0.6", None),
    ("resnet20", f"{PLAIN}0.6", None),
    ("resnet56", "prune:macs=0.75", 91.5),
    ("resnet56", f"{PLAIN}0.75", None),
    ("resnet56", "prune:macs=0.6", 88.0),
    ("resnet56", f"{PLAIN}0.6", None),
    ("resnet56", "prune:macs=0.7,basis:macs=0.45,quantize", None),
    ("resnet32", "prune:macs=0.58", None),
    ("resnet32", "prune:macs=0.58:params=0.4536", None),
    ("resnet32", f"{PLAIN}0.58", None),
    ("resnet32", f"{PLAIN}0.58:params=0.4536", None),
]
CRITERIA = ("moments", "l1", "l2", "fpgm", *(f"gaussian:reading={each}" for each in ("tails", "centre", "low")))


def readings() -> list[Row]:
    """Every criterion, before and after repair; then each with the same division, so that only the order counts."""
    tails = (":repair=none", "", ":division=share")
    return [("resnet20", f"prune:macs=0.7:criterion={each}{tail}", None) for tail in tails for each in CRITERIA]


def torch_pruning(python: str, network: str, macs: float, assets: Path) -> dict[str, Any]:
    """One line by Torch-Pruning."""
    script = Path(__file__).with_name("torch_pruning_rows.py")
    command = [python, str(script), network, str(macs), str(assets)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default="resnet20,resnet32,resnet56")
    parser.add_argument("--only", action="append", help="a pipeline to measure (default: all listed)")
    parser.add_argument("--readings", action="store_true", help="the criteria side by side")
    parser.add_argument("--torch-pruning", action="store_true", help="beside Torch-Pruning")
    parser.add_argument("--torch-python", default="python", help="an interpreter that has torch and torch-pruning")
    parser.add_argument("--samples", type=int, default=1024)
    args = parser.parse_args()
    networks = args.networks.split(",")
    rows = [row for row in (readings() if args.readings else ROWS) if row[0] in networks]
    if args.only:
        goals = {(network, pipeline): goal for network, pipeline, goal in rows}
        rows = [(network, pipeline, goals.get((network, pipeline))) for pipeline in args.only for network in networks]
    context = multiprocessing.get_context("spawn")
    for network, pipeline, goal in rows:
        with context.Pool(1) as pool:
            line = pool.apply(measure, (network, pipeline, str(args.assets), args.samples, "xavier"))
        print(json.dumps({**line, "benchmark": "prune", "goal": goal}), flush=True)
    if args.torch_pruning:
        for macs in (0.75, 0.6):
            print(json.dumps(torch_pruning(args.torch_python, "resnet56", macs, args.assets)), flush=True)


if __name__ == "__main__":
    main()
