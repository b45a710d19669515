"""Reading a JSON report, of this schema or an earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ..errors import CompressError
from ..files import read_json
from .fields import SCHEMA, Report
from .frontier import SCHEMA as FRONTIER
from .frontier import Frontier
from .schema import problems

FIX = "give the file that --report wrote"
OLDEST = 1


def load_report(path: Path) -> Report:
    """The report in a file.

    Raises:
        CompressError: it cannot be read, is not a report, or has a schema that this version does not know.
    """
    return checked(_read(path, FIX), str(path))


def load_frontier(path: Path) -> Frontier:
    """The frontier in a file; `CompressError` where it is none."""
    fix = "give the file that `onnx-compress frontier -o` wrote"
    value = _read(path, fix)
    found = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    if found.get("schema") == 1:
        _from_first_frontier(found)
    wrong = next(problems(cast("object", value), Frontier, "frontier"), None)
    if wrong is not None:
        raise CompressError(f"is not a frontier: {wrong}", str(path), fix)
    return cast("Frontier", value)


def _read(path: Path, fix: str) -> object:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise CompressError(f"cannot be read: {error}", str(path), fix) from error


def checked(value: object, where: str) -> Report:
    """`value` as a report of this schema; see `load_report`."""
    report = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    version = report.get("schema")
    if not isinstance(version, int):
        raise CompressError("is not the report of a run", where, FIX)
    if not OLDEST <= version <= SCHEMA:
        what = f"is a report of schema {version}; this version reads {OLDEST} to {SCHEMA}"
        raise CompressError(what, where, "use the version of onnx-compress that wrote it")
    if version == 1:
        _from_first(report)
    if version < 3:
        _from_second(report)
    if version < 5:
        _from_fourth(report)
    if version < 6:
        _from_fifth(report)
    if version < 7:
        _from_sixth(report)
    wrong = next(problems(report), None)
    if wrong is not None:
        raise CompressError(f"is not the report of a run: {wrong}", where, FIX)
    return cast("Report", report)


def _from_first(report: dict[str, Any]) -> None:
    report |= {"created": None, "command": None, "environment": None, "layers": []}
    for entry in _records(report.get("passes")):
        entry["traces"] = {"curves": [], "searches": [], "spreads": []}


def _from_second(report: dict[str, Any]) -> None:
    report["options"] = {}
    for entry in _records(report.get("passes")):
        for decision in _records(entry.get("decisions")):
            if decision.get("action") == "mended":
                decision["action"] = "legalized"


def _from_fourth(report: dict[str, Any]) -> None:
    """Samples were those that the fits had seen."""
    report["warnings"] = []
    quality = report.get("quality")
    if isinstance(quality, dict):
        found = cast("dict[str, Any]", quality)
        agreement, error = found.get("agreement"), found.get("output_error")
        metric, value = ("error", error) if agreement is None else ("agreement", agreement)
        report["quality"] = {
            "metric": metric,
            "value": value,
            "deviation": None,
            "held_out": False,
            "fitted": None,
        } | found


def _from_fifth(report: dict[str, Any]) -> None:
    """A metric was a comparison with the original, of all outputs together."""
    quality = report.get("quality")
    if isinstance(quality, dict):
        report["quality"] = {"original": None, "outputs": {}} | cast("dict[str, Any]", quality)


def _from_sixth(report: dict[str, Any]) -> None:
    """Latencies were of one sample."""
    report |= {"schema": SCHEMA, "times": []}
    for size in _records([report.get("before"), report.get("after")]):
        for latency in _records([size.get("latency")]):
            latency["batch"] = 1


def _from_first_frontier(frontier: dict[str, Any]) -> None:
    """Points were judged by agreement, and where there was none by the distance of the outputs."""
    points = _records(frontier.get("points"))
    known = any(point.get("agreement") is not None for point in points)
    metric, key, whole = ("agreement", "agreement", 1.0) if known else ("error", "output_error", 0.0)
    for point in points:
        if point.get(key) is not None:
            point |= {"metric": metric, "value": point[key], "deviation": None}
    if isinstance(frontier.get("original"), dict):
        frontier["original"]["value"] = whole
    frontier |= {"schema": FRONTIER, "metric": metric, "notes": []}


def _records(value: object) -> list[dict[str, Any]]:
    return [entry for entry in cast("list[Any]", value) if isinstance(entry, dict)] if isinstance(value, list) else []
