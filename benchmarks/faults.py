"""Runs that are killed, or run out of disk or memory: each leaves the whole old file or the whole new one, and the same
command then ends as an undisturbed run does. Prints a JSON line per bad case, and one with the counts of each kind.

    python benchmarks/faults.py [--kinds kill,disk,memory] [--count 50] [--seed 0] [--model MODEL] [--data DATA]

A case starts a compression over an existing output with --overwrite, --dump-dir and --report. `kill` ends it (SIGKILL)
after a random share of the time that a whole run takes, `disk` limits the size of files it writes (RLIMIT_FSIZE) and
`memory` its address space (RLIMIT_AS), at random too. Then the files are looked at, the same command runs to its end,
and its model is compared with the one of the undisturbed run, byte by byte. `told` counts the cases that ended in one
line of error, `died` in another way (libraries for linear algebra abort where they get no memory, or try for ever:
after ten times the time of a whole run they are killed), `leftovers` those after which other files were there:
temporary ones of a killed run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "onnx_compress"]
OLD = b"the file that was there before"
MEMORY = (0.3, 1.5)
"""GB of address space between which a run of the sample network begins to fit."""


def command(args: argparse.Namespace, folder: Path) -> list[str]:
    words = [args.model, "-p", args.pipeline, "--data", args.data, "--preprocess", "cifar10", "--samples", "64", "-q"]
    files = ["-o", str(folder / "out.onnx"), "--report", str(folder / "run.json"), "--dump-dir", str(folder / "steps")]
    return [*PROGRAM, *words, *files, "--overwrite"]


def killed(words: list[str], folder: Path, after: float) -> str | None:
    """Run it for so many seconds at most; what it said, None where it was killed."""
    process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        return process.communicate(timeout=after)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None


def limited(words: list[str], folder: Path, what: int, most: float, seconds: float) -> str:
    """Run it with a resource limit; what it said."""

    def limit() -> None:
        resource.setrlimit(what, (int(most), int(most)))

    try:
        run = subprocess.run(
            words, cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=limit, check=False, timeout=10 * seconds
        )
    except subprocess.TimeoutExpired:
        return "no end"
    return run.stderr


def disturbed(kind: str, rng: random.Random, seconds: float, size: int) -> Callable[[list[str], Path], str | None]:
    if kind == "kill":
        after = rng.uniform(0, 1.05) * seconds
        return lambda words, folder: killed(words, folder, after)
    if kind == "disk":
        most = rng.uniform(0, 1.2) * size
        return lambda words, folder: limited(words, folder, resource.RLIMIT_FSIZE, most, seconds)
    most = rng.uniform(*MEMORY) * 1e9
    return lambda words, folder: limited(words, folder, resource.RLIMIT_AS, most, seconds)


def examine(args: argparse.Namespace, folder: Path, disturb: Callable[[list[str], Path], str | None], wanted: bytes):
    """One case: what it said, and whether the files were whole and the second run right."""
    for name in ("out.onnx", "run.json"):
        (folder / name).write_bytes(OLD)
    said = disturb(command(args, folder), folder)
    found, report = ((folder / name).read_bytes() for name in ("out.onnx", "run.json"))
    intact = found in (OLD, wanted) and (report == OLD or report.rstrip().endswith(b"}"))
    left = [path.name for path in folder.iterdir() if path.name not in ("out.onnx", "run.json", "steps")]
    again = subprocess.run(command(args, folder), stderr=subprocess.PIPE, text=True, check=False)
    same = again.returncode == 0 and (folder / "out.onnx").read_bytes() == wanted
    return said, intact, same, bool(left), again.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description="Disturbed runs leave whole files.")
    parser.add_argument("--kinds", default="kill,disk,memory")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=str(ROOT / "models/resnet20_cifar10.onnx"))
    parser.add_argument("--data", default=f"{ROOT / 'models/cifar10_sample.npz'}#train_images")
    parser.add_argument("--pipeline", default="basis:rank=0.5,quantize")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        whole.mkdir()
        started = time.perf_counter()
        subprocess.run(command(args, whole), check=True)
        seconds, wanted = time.perf_counter() - started, (whole / "out.onnx").read_bytes()
        size = max(path.stat().st_size for path in whole.rglob("*"))
        for kind in args.kinds.split(","):
            rng, counts = random.Random(f"{kind} {args.seed}"), Counter[str]()
            for case in range(args.count):
                folder = Path(place) / f"{kind}{case}"
                folder.mkdir()
                said, intact, same, left, again = examine(args, folder, disturbed(kind, rng, seconds, size), wanted)
                counts["good" if intact and same else "bad"] += 1
                counts["leftovers"] += left
                end = "killed" if said is None else "finished" if not said.strip() else "told" if told(said) else "died"
                counts[end] += 1
                if not (intact and same) or end == "died":
                    line = {"kind": kind, "case": case, "intact": intact, "same": same, "said": (said or "")[-300:]}
                    print(json.dumps({**line, "again": again[-300:]}), flush=True)
                shutil.rmtree(folder)
            print(json.dumps({"benchmark": "faults", "kind": kind, "count": args.count, **counts}), flush=True)


def told(said: str) -> bool:
    """Whether it ended in one line of error."""
    lines = [line for line in said.strip().splitlines() if line]
    return lines[-1].startswith("error: ") and sum(line.startswith("error: ") for line in lines) == 1


if __name__ == "__main__":
    main()
