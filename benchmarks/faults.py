"""Runs that are killed at random moments: each leaves the whole old file or the whole new one, and the same command
then ends as an uninterrupted run does. Prints a JSON line per bad case, and one with the counts.

    python benchmarks/kills.py [--count 50] [--seed 0] [--model MODEL] [--data DATA] [--pipeline PIPELINE]

A case starts a compression over an existing output with --overwrite, --dump-dir and --report, and kills it (SIGKILL)
after a random share of the time that a whole run takes. Then the files are looked at, the same command runs to its end,
and its model is compared with the one of the uninterrupted run, byte by byte. `leftovers` counts the cases after which
other files were there: temporary ones of the killed run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "onnx_compress"]
OLD = b"the file that was there before"


def command(args: argparse.Namespace, folder: Path) -> list[str]:
    words = [args.model, "-p", args.pipeline, "--data", args.data, "--preprocess", "cifar10", "--samples", "64", "-q"]
    files = ["-o", str(folder / "out.onnx"), "--report", str(folder / "run.json"), "--dump-dir", str(folder / "steps")]
    return [*PROGRAM, *words, *files, "--overwrite"]


def killed(words: list[str], folder: Path, after: float) -> bool:
    """Whether the run was still going after so many seconds."""
    process = subprocess.Popen(words, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Killed runs leave whole files.")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=str(ROOT / "models/resnet20_cifar10.onnx"))
    parser.add_argument("--data", default=f"{ROOT / 'models/cifar10_sample.npz'}#train_images")
    parser.add_argument("--pipeline", default="basis:rank=0.5,quantize")
    args = parser.parse_args()
    rng, counts = random.Random(args.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        whole.mkdir()
        started = time.perf_counter()
        subprocess.run(command(args, whole), check=True)
        seconds, wanted = time.perf_counter() - started, (whole / "out.onnx").read_bytes()
        for case in range(args.count):
            folder = Path(place) / f"case{case}"
            folder.mkdir()
            (folder / "out.onnx").write_bytes(OLD)
            (folder / "run.json").write_bytes(OLD)
            after = rng.uniform(0, 1.05) * seconds
            stopped = killed(command(args, folder), folder, after)
            found = (folder / "out.onnx").read_bytes()
            report = (folder / "run.json").read_bytes()
            intact = found in (OLD, wanted) and (report == OLD or report.rstrip().endswith(b"}"))
            again = subprocess.run(command(args, folder), stderr=subprocess.PIPE, text=True, check=False)
            same = again.returncode == 0 and (folder / "out.onnx").read_bytes() == wanted
            counts["killed" if stopped else "finished"] += 1
            counts["good" if intact and same else "bad"] += 1
            if not (intact and same):
                line = {"case": case, "after": round(after, 2), "intact": intact, "same": same}
                print(json.dumps({**line, "said": again.stderr[-300:]}), flush=True)
            left = [path.name for path in folder.iterdir() if path.name not in ("out.onnx", "run.json", "steps")]
            counts["leftovers"] += bool(left)
            shutil.rmtree(folder)
    print(json.dumps({"benchmark": "kills", "seconds": round(seconds, 1), "count": args.count, **counts}), flush=True)


if __name__ == "__main__":
    main()
