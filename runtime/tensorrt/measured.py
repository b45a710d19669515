"""What was measured on the device, beside the decisions of a run's report.

A node that a pass rewrote is not in the engine any more; its time is that of the nodes that stand for it. Of the model
that came into the run, the engine is measured in the same way; which of the two a model is tells the name of its file,
or the bytes of it where both have one name. Measured again, in the same power mode, the last run counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal, cast

from ...compiler.errors import CompressError
from ...compiler.files import read_json, staged, writing
from ...compiler.report import MeasuredReport, Report, to_json

Network = Literal["before", "after"]
NETWORKS: tuple[Network, ...] = ("before", "after")
FIGURES: Mapping[Network, str] = {"before": "measured_before_ms", "after": "measured_ms"}


def network_of(path: Path, model: Path, sizes: Collection[int]) -> Network:
    """Which of the two networks of the report `path` the file `model` is, which has one of these sizes in bytes.

    Raises:
        CompressError: none of them, or `path` is not the report of a run.
    """
    report = _read(path)
    names = {"before": report.get("model") or "", "after": report.get("output") or ""}
    called: list[Network] = [key for key in NETWORKS if PurePath(names[key]).name == model.name]
    if len(called) == 1:
        return called[0]
    sized: list[Network] = [key for key in called or NETWORKS if report[key]["bytes"] in sizes]
    if not sized:
        fix = "give the report that was written with it"
        raise CompressError(f"is of neither the model nor the output of {path}", str(model), fix)
    return sized[-1]


def add_engine(path: Path, engine: MeasuredReport, times: Mapping[str, float]) -> None:
    """Write what was measured into the JSON report `path`, in the place of the same network in the same power mode.

    Args:
        times: node of that network -> milliseconds.

    Raises:
        CompressError: the file is not the report of a run.
    """
    report = _read(path)
    _place(report, times, "before" if engine["network"] == "before" else "after")
    key = engine["network"], engine["mode"]
    others = [each for each in report.get("measured", []) if (each["network"], each["mode"]) != key]
    report["measured"] = [*others, engine]
    _write(path, report)


def _place(report: Mapping[str, Any], times: Mapping[str, float], network: Network) -> None:
    origins: Mapping[str, str] = report["origins"] if network == "after" else {}
    own = "node" if network == "after" else "origin"
    for decision in (decision for entry in report["passes"] for decision in entry["decisions"]):
        found = [ms for node, ms in times.items() if decision[own] in (node, origins.get(node))]
        if found:
            decision["figures"][FIGURES[network]] = round(sum(found), 6)


def _write(path: Path, report: Mapping[str, Any]) -> None:
    with writing(path), staged(path) as part:
        part.write_text(to_json(cast("Report", report)), encoding="utf-8", errors="backslashreplace")


def _read(path: Path) -> dict[str, Any]:
    try:
        report = read_json(path)
        if {"schema", "passes", "origins", *NETWORKS} <= set(report):
            return report
    except (OSError, ValueError, TypeError) as error:
        raise CompressError(f"cannot be read: {error}", str(path), "give the file that --report wrote") from error
    raise CompressError("is not the report of a run", str(path), "give the file that --report wrote")
