"""Measured milliseconds, beside the decisions of a run's report.

A node that a pass rewrote is not in the engine any more; its time is that of the nodes that stand for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ...compiler.errors import CompressError
from ...compiler.files import read_json, staged, writing
from ...compiler.report import Report, to_json

FIGURE = "measured_ms"


def add_times(path: Path, times: Mapping[str, float]) -> int:
    """Write `times` (node of the compressed model -> milliseconds) into the JSON report `path`; how many were placed.

    Raises:
        CompressError: the file is not the report of a run.
    """
    report = _read(path)
    origins: Mapping[str, str] = report["origins"]
    placed = 0
    for decision in (decision for entry in report["passes"] for decision in entry["decisions"]):
        own = [ms for node, ms in times.items() if decision["node"] in (node, origins.get(node))]
        if own:
            decision["figures"][FIGURE] = round(sum(own), 6)
            placed += 1
    with writing(path), staged(path) as part:
        part.write_text(to_json(cast("Report", report)), encoding="utf-8", errors="backslashreplace")
    return placed


def _read(path: Path) -> dict[str, Any]:
    try:
        report = read_json(path)
        if {"schema", "passes", "origins"} <= set(report):
            return report
    except (OSError, ValueError, TypeError) as error:
        raise CompressError(f"cannot be read: {error}", str(path), "give the file that --report wrote") from error
    raise CompressError("is not the report of a run", str(path), "give the file that --report wrote")
