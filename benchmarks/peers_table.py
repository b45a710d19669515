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
    macs = "" if line["macs"] is None else f"{line['macs']:.2f}"
    quality = [f"{line[key]:.2f}" for key in ("top1", "top1_fused", "agreement")]
    costs = [f"{line['latency_ratio']:.2f}", f"{line['seconds']:.1f}", str(line["peak_mb"])]
    return [*named, f"{line['bytes']:,}", macs, *quality, f"{line['output_error']:.4f}", *costs]


def main() -> None:
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    print(table(HEAD, map(row, lines)))


if __name__ == "__main__":
    main()
