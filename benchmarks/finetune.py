"""What fine-tuning restores of compressed CIFAR-10 networks: a JSON line per pipeline.

    python models/fetch_cifar10.py --out cifar10.npz
    python benchmarks/finetune.py --data cifar10.npz [--rows ROW,...] [--epochs N] [--options engine=torch]

The 50,000 training images are used without their labels; `top1` is on all 10,000 test images with onnxruntime, before
(`plain`), behind fine-tuning (`tuned`) and at the end (`top1`). `curve` has the mean loss of each epoch of all rounds,
and the divergence and agreement on held-out samples after it. Networks are those of `accuracy.py`; rows are run one
after the other, each in a fresh process. Steps lie in --steps: a row that was interrupted goes on from there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import time
from pathlib import Path
from typing import Any

from accuracy import top1
from json_lines import emit

ASSETS = Path(__file__).resolve().parents[2] / "shared"
PREPROCESS = "mean=0.485,0.456,0.406:std=0.229,0.224,0.225"
ROWS: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "resnet20-half": ("resnet20", "basis:macs=0.5", ("epochs=3",), ""),
    "resnet56-half": ("resnet56", "basis:macs=0.5", ("epochs=3",), ""),
    "resnet56-third": ("resnet56", "basis:macs=0.36", ("epochs=10",), ""),
    "resnet32-prune": (
        "resnet32",
        "prune:macs=0.58:params=0.4536",
        ("epochs=24:optimizer=muon:rate=1.5e-3:augment=flip-crop-mix",),
        "",
    ),
    "resnet56-sbf": ("resnet56", "sbf:macs=0.52", ("epochs=10",), ""),
    "resnet56-sbf-plugin": ("resnet56", "sbf:form=plugin:macs=0.52", ("epochs=10",), ""),
    "resnet56-summary": ("resnet56", "filter-summary:ratio=4:locations=learned", ("epochs=10",), ""),
    "resnet56-int8": ("resnet56", "basis:macs=0.5", ("epochs=3",), "quantize"),
}
"""Network, what compresses it, rounds of fine-tuning, what follows them."""
CURVE = ("loss", "divergence", "agreement")


def measure(row: str, data: str, assets: str, epochs: int | None, options: str, steps: str) -> dict[str, Any]:
    import onnx
    from onnx_compress.api import compress, load_samples
    from onnx_compress.runtime.session import Session

    network, before, known, behind = ROWS[row]
    rounds = [f"finetune:{settings}{options}" for settings in ((f"epochs={epochs}",) if epochs else known)]
    pipeline = ",".join(part for part in (before, *rounds, behind) if part)
    source = Path(assets) / "models" / f"{network}.onnx"
    given: dict[str, Any] = {"data": f"{data}#train_images", "preprocess": PREPROCESS, "target": "ort"}
    test = load_samples(compress(source, "cleanup", target="ort").graph, f"{assets}/data/cifar10_test.npz", PREPROCESS)

    folder = Path(steps) / row

    def after(behind: str) -> float:
        return top1(Session(onnx.load(max(folder.glob(f"*-{behind}.onnx")))), test)

    result = compress(source, pipeline, dump_dir=folder, **given)
    trained = [record for record in result.records if record.name == "finetune"]
    figures = [record.result.metrics for record in trained]
    costs = result.report["after"], result.report["before"]
    return {
        "benchmark": "finetune",
        "row": row,
        "network": network,
        "pipeline": pipeline,
        "macs": round(costs[0]["macs"] / costs[1]["macs"], 4),
        "params": round(costs[0]["params"] / costs[1]["params"], 4),
        "plain": after(before.partition(":")[0]),
        "tuned": after("finetune"),
        "top1": top1(Session(result.proto), test),
        "steps": int(sum(one.get("steps", 0) for one in figures)),
        "minutes": round(sum(record.seconds for record in trained) / 60, 1),
        "seconds_per_step": round(max(one.get("seconds_per_step", 0.0) for one in figures), 3),
        "curve": [point for one in figures for point in _curve(one)],
        "machine": f"{platform.machine()}, {multiprocessing.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
    }


def _curve(figures: dict[str, float]) -> list[list[float]]:
    """By epoch."""
    done = int(figures.get("rounds", 0))
    return [[round(figures[f"{key}_{n}"], 4) for key in CURVE] for n in range(1, done + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description="What fine-tuning restores of compressed CIFAR-10 networks.")
    parser.add_argument("--data", required=True, help="archive with train_images")
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--epochs", type=int, help="of one round, instead of the row's own")
    parser.add_argument("--options", default="", help="more options of finetune, as engine=torch:rate=3e-4")
    parser.add_argument("--steps", type=Path, default=Path("out/finetune"), help="folder for the models of each row")
    parser.add_argument("--log", type=Path, help="append the lines to this file")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    options = f":{args.options}" if args.options else ""
    for row in args.rows.split(","):
        with context.Pool(1) as pool:
            line = pool.apply(measure, (row, args.data, str(args.assets), args.epochs, options, str(args.steps)))
        emit(line, args.log)


if __name__ == "__main__":
    main()
