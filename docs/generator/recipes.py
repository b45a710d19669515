"""The recipes as a table; and what they do to networks, from `benchmarks/results/recipes.jsonl`.

A line of that file is a network or what a recipe makes of one. Of the network, `recipe` is "": `ms_fp16` and `ms_int8`
by the estimate, its figure by `metric`, and on how many `pictures`. Of a recipe: `ms`, or the shares `of_fp16` and
`of_int8` where it is not known; the `figure`; a `note` if there is one; or nothing but `same_as` another recipe. Of two
lines for one cell the last counts; a cell without a line stays blank.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx_compress.compiler.pipeline.recipes import RECIPES

from .markdown import code, escaped, table

MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "recipes.jsonl"
ORIGINAL = ""
Line = Mapping[str, Any]


def recipes() -> str:
    rows = [[code(name), code(recipe.pipeline), escaped(recipe.summary)] for name, recipe in RECIPES.items()]
    return table(["recipe", "stands for", ""], rows)


def measured() -> str:
    """A row per network, a column per recipe that was tried on one."""
    networks = measurements()
    tried = [name for name in RECIPES if any(name in lines for lines in networks.values())]
    rows = [
        [network, *_original(lines[ORIGINAL]), *(_cell(lines.get(name), lines[ORIGINAL]) for name in tried)]
        for network, lines in networks.items()
    ]
    return table(["network", "FP16", "INT8", "", *map(code, tried)], rows)


def measurements() -> dict[str, dict[str, Line]]:
    """Network -> recipe -> its line."""
    found: dict[str, dict[str, Line]] = {}
    for text in MEASURED.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        found.setdefault(line["network"], {})[line["recipe"]] = line
    return found


def shares(line: Line, original: Line) -> tuple[float, float]:
    """The time as a share of the original's in FP16, and of the original's all in INT8."""
    if "ms" not in line:
        return line["of_fp16"], line["of_int8"]
    return line["ms"] / original["ms_fp16"], line["ms"] / original["ms_int8"]


def _original(line: Line) -> list[str]:
    return [f"{line['ms_fp16']:.3f}", f"{line['ms_int8']:.3f}", f"{line['metric']} {line['figure']:.1f}"]


def _cell(line: Line | None, original: Line) -> str:
    if line is None:
        return ""
    if "same_as" in line:
        return f"as {code(line['same_as'])}"
    half, int8 = shares(line, original)
    note = f", {escaped(line['note'])}" if line.get("note") else ""
    return f"{half:.2f}, {int8:.2f}: {line['figure']:.1f}{note}"
