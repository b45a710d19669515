"""The report of a run: what went in, what came out, and what each pass did to every node and why; as JSON and HTML."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from ..pipeline.base import Decision, PassRecord
from ..pipeline.traces import ErrorCurve, Spread, Traces, Trials
from .fields import (
    SCHEMA,
    CostReport,
    CurveReport,
    DataReport,
    DecisionReport,
    EnvironmentReport,
    LatencyReport,
    LayerReport,
    MeasuredReport,
    PassReport,
    QualityReport,
    Report,
    SearchReport,
    SizeReport,
    SpreadReport,
    TargetReport,
    TimeReport,
    ToolReport,
    TracesReport,
)

__all__ = [
    "SCHEMA",
    "CostReport",
    "DataReport",
    "EnvironmentReport",
    "LatencyReport",
    "LayerReport",
    "MeasuredReport",
    "PassReport",
    "QualityReport",
    "Report",
    "SizeReport",
    "TargetReport",
    "TimeReport",
    "ToolReport",
    "count_actions",
    "events",
    "notes",
    "pass_report",
    "to_json",
    "unchanged",
]

NUMBERS = re.compile(r"\[\n[\s\d,.eE+\-nul]*\]")


def pass_report(record: PassRecord, origins: Mapping[str, str]) -> PassReport:
    """What one pass did."""
    result = record.result
    return PassReport(
        position=record.position,
        name=record.name,
        spec=record.spec,
        changed=result.changed,
        seconds=round(record.seconds, 3),
        figures=dict(record.figures),
        metrics=dict(result.metrics),
        notes=list(result.notes),
        decisions=[_decision(entry, origins) for entry in result.decisions],
        traces=_traces(result.traces, origins),
    )


def _decision(decision: Decision, origins: Mapping[str, str]) -> DecisionReport:
    return DecisionReport(
        node=decision.node,
        origin=origins.get(decision.node, decision.node),
        action=decision.action,
        reason=decision.reason,
        figures=dict(decision.figures),
    )


def _traces(traces: Traces, origins: Mapping[str, str]) -> TracesReport:
    return TracesReport(
        curves=[_curve(curve, origins) for curve in traces.curves],
        searches=[_search(search) for search in traces.searches],
        spreads=[_spread(spread) for spread in traces.spreads],
    )


def _curve(curve: ErrorCurve, origins: Mapping[str, str]) -> CurveReport:
    return CurveReport(
        origin=origins.get(curve.node, curve.node),
        form=curve.form,
        sizes=list(curve.sizes),
        macs=list(curve.macs),
        errors=list(curve.errors),
        dense=curve.dense,
    )


def _search(search: Trials) -> SearchReport:
    return cast("SearchReport", asdict(search))


def _spread(spread: Spread) -> SpreadReport:
    return cast("SpreadReport", asdict(spread))


def count_actions(passes: Sequence[PassReport], name: str) -> int:
    """How many decisions of all passes are `name`."""
    return sum(decision["action"] == name for entry in passes for decision in entry["decisions"])


def unchanged(entry: PassReport) -> str:
    """Of a pass that changed nothing: a sentence that says so, with what it said most often of the nodes it left."""
    reasons = Counter(decision["reason"] for decision in entry["decisions"] if decision["reason"])
    said = next(iter(entry["notes"]), "")
    if reasons:
        reason, count = reasons.most_common(1)[0]
        said = f"{reason} ({count} of {len(entry['decisions'])} nodes)"
    elif not said:
        said = "it found nothing to do"
    return f"{entry['name']} changed nothing: {said}"


def events(report: Report) -> list[str]:
    """What has to be said first: the warnings, and the sentences by `unchanged` among those of the run."""
    written = {unchanged(entry) for entry in report["passes"] if not entry["changed"]}
    return [*report["warnings"], *(note for note in report["notes"] if note in written)]


def notes(report: Report) -> list[str]:
    """The sentences of the run and of its passes, each once, without `events`."""
    said = events(report)
    notes = [*report["notes"], *(note for entry in report["passes"] for note in entry["notes"])]
    return [note for note in dict.fromkeys(notes) if note not in said]


def to_json(report: Report) -> str:
    """The report as indented JSON, lists of numbers on one line; numbers that JSON cannot hold become null."""
    text = json.dumps(_plain(report), indent=2, allow_nan=False, ensure_ascii=False)
    return NUMBERS.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in cast("Mapping[Any, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in cast("Sequence[object]", value)]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    item = getattr(value, "item", None)
    return _plain(item()) if callable(item) else str(value)
