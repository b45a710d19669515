"""The lines of `peers.py` as a table in Markdown: `python benchmarks/peers_table.py benchmarks/results/peers.jsonl`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tables import table

HEAD = ["network", "tool", "setting", "bytes", "MACs", "top-1", "fused", "agreement", "error", "time", "s", "peak MB"]


def row(line: dict[str, Any]) -> list[str]:
    named = [line["network"], line["tool"], f"`{line['setting']}`" if line["setting"] else ""]
    if "failed" in line:
        return [*named, "failed: " + line["failed"].replace("|", "/"), *[""] * (len(HEAD) - 4)]
    judged = [number(line, key, 2) for key in ("macs", "top1", "top1_fused", "agreement")]
    judged += [number(line, "output_error", 4), number(line, "latency_ratio", 2)]
    return [*named, f"{line['bytes']:,}", *judged, f"{line['seconds']:.3g}", str(line["peak_mb"])]


def number(line: dict[str, Any], key: str, digits: int) -> str:
    """Nothing where it was not measured."""
    return "" if line.get(key) is None else f"{line[key]:.{digits}f}"


def main() -> None:
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    print(table(HEAD, map(row, lines)))


if __name__ == "__main__":
    main()
