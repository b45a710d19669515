"""How long the command line takes before it does anything: a JSON line per command.

    python benchmarks/startup.py [--runs 21]

Every round runs each command once, and `python -c pass`, so that what else the machine does falls on all alike; `ms`
are medians and quartiles of wall time, `cpu_ms` the median of processor time, `bare` the median of Python alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

PROGRAM = [sys.executable, "-m", "onnx_compress"]
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "--help": [*PROGRAM, "--help"],
    "compress --help": [*PROGRAM, "compress", "--help"],
    "--version": [*PROGRAM, "--version"],
    "explain basis": [*PROGRAM, "explain", "basis"],
    "list": [*PROGRAM, "list"],
}


def timed(command: list[str]) -> tuple[float, float]:
    """Milliseconds of wall and of processor time."""
    before, started = _spent(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1e3 * (time.perf_counter() - started), 1e3 * (_spent() - before)


def _spent() -> float:
    """Seconds of processor time of all commands so far."""
    spent = os.times()
    return spent.children_user + spent.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description="Start-up time of the command line.")
    parser.add_argument("--runs", type=int, default=21)
    rounds = parser.parse_args().runs
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(timed(command))
    bare = statistics.median(wall for wall, _ in times.pop("python"))
    for name, found in times.items():
        wall = statistics.quantiles([entry[0] for entry in found], n=4)
        cpu = statistics.median(entry[1] for entry in found)
        line = {"benchmark": "startup", "command": name, "ms": [round(value) for value in (wall[1], wall[0], wall[2])]}
        print(json.dumps({**line, "cpu_ms": round(cpu), "bare": round(bare), "runs": rounds}), flush=True)


if __name__ == "__main__":
    main()
