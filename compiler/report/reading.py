"""Reading a JSON report, of this schema or the one before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from ..errors import CompressError
from .fields import SCHEMA, Report
from .schema import problems

FIX = "give the file that --report wrote"
OLDEST = 1


def read_report(path: Path) -> Report:
    """The report in a file.

    Raises:
        CompressError: it cannot be read, is not a report, or has a schema that this version does not know.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CompressError(f"cannot be read: {error}", str(path), FIX) from error
    return checked(value, str(path))


def checked(value: object, where: str) -> Report:
    """`value` as a report of this schema; see `read_report`."""
    report = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    version = report.get("schema")
    if not isinstance(version, int):
        raise CompressError("is not the report of a run", where, FIX)
    if not OLDEST <= version <= SCHEMA:
        what = f"is a report of schema {version}; this version reads {OLDEST} to {SCHEMA}"
        raise CompressError(what, where, "use the version of onnx-compress that wrote it")
    if version == 1:
        _from_first(report)
    wrong = next(problems(report), None)
    if wrong is not None:
        raise CompressError(f"is not the report of a run: {wrong}", where, FIX)
    return cast("Report", report)


def _from_first(report: dict[str, Any]) -> None:
    report |= {"schema": SCHEMA, "created": None, "command": None, "environment": None, "layers": []}
    passes = report.get("passes")
    for entry in cast("list[Any]", passes) if isinstance(passes, list) else []:
        if isinstance(entry, dict):
            entry["traces"] = {"curves": [], "searches": [], "spreads": []}
