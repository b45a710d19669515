"""The lines of `peers.py` as a table in Markdown: `python benchmarks/peers_table.py benchmarks/results/peers.jsonl`.

Columns that say the same of all lines are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tables import table

Line = Mapping[str, Any]
TASKS = "top1", "map50", "miou"


def number(key: str, digits: int) -> Callable[[Line], str]:
    """Nothing where it was not measured."""
    return lambda line: "" if line.get(key) is None else f"{line[key]:.{digits}f}"


def of_task(suffix: str = "") -> Callable[[Line], str]:
    return lambda line: "".join(number(task + suffix, 2)(line) for task in TASKS)


NAMES: dict[str, Callable[[Line], str]] = {
    "network": lambda line: line["network"],
    "tool": lambda line: line["tool"],
    "setting": lambda line: f"`{line['setting']}`" if line["setting"] else "",
}
FIGURES: dict[str, Callable[[Line], str]] = {
    "bytes": lambda line: f"{line['bytes']:,}",
    "MACs": number("macs", 2),
    "figure": of_task(),
    "fused": of_task("_fused"),
    "agreement": number("agreement", 2),
    "agreement, fused": number("agreement_fused", 2),
    "error": number("output_error", 4),
    "error, fused": number("output_error_fused", 4),
    "time": number("latency_ratio", 2),
    "95 %": lambda line: " to ".join(f"{end:.2f}" for end in line.get("latency_interval", [])),
    "s": lambda line: f"{line['seconds']:.3g}",
    "CPU s": lambda line: f"{line['cpu_seconds']:.3g}",
    "peak MB": lambda line: str(line["peak_mb"]),
    "Xavier ms": number("xavier_ms", 3),
    "refused": lambda line: ", ".join(line.get("xavier_refuses", [])),
}


def rows(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """The head, and a row per line; why it failed stands in the place of the first figure."""
    good = [line for line in lines if "failed" not in line]
    told = {name: value for name, value in FIGURES.items() if tells(list(map(value, good)))}
    return [*NAMES, *told], [[*(value(line) for value in NAMES.values()), *_figures(line, told)] for line in lines]


def tells(column: Sequence[str]) -> bool:
    return any(column) and (len(column) == 1 or len(set(column)) > 1)


def _figures(line: Line, told: Mapping[str, Callable[[Line], str]]) -> list[str]:
    if "failed" in line:
        return ["failed: " + line["failed"].replace("|", "/"), *[""] * (len(told) - 1)]
    return [value(line) for value in told.values()]


def main() -> None:
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    print(table(*rows(lines)))


if __name__ == "__main__":
    main()
