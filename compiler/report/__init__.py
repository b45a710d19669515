"""The report of a run, as JSON: what went in, what came out, and what each pass did to every node and why.

`SCHEMA` grows by one whenever a key changes its meaning or goes away; new keys may appear at any time. Sizes are bytes,
times seconds, shares lie in [0, 1]; MACs and parameters are those of the Conv layers, for one sample. A figure that is
not finite is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from ..base import Decision, PassRecord

SCHEMA = 1


class LatencyReport(TypedDict):
    """Estimated for the target's device, not measured; `error` is the model's relative error on other networks."""

    ms: float
    error: float
    mode: str
    kernels: int


class SizeReport(TypedDict):
    """`latency` is null where the target has no latency model."""

    macs: int
    params: int
    bytes: int
    latency: LatencyReport | None


class DataReport(TypedDict):
    source: str
    samples: int
    sha256: str
    preprocess: str | None


class QualityReport(TypedDict):
    """On the calibration samples; the accuracies are null without labels, `agreement` where there are no classes."""

    samples: int
    agreement: float | None
    output_error: float
    top1_before: float | None
    top1_after: float | None


class DecisionReport(TypedDict):
    """`origin` is the node of the input model that `node` stands for."""

    node: str
    origin: str
    action: str
    reason: str
    figures: dict[str, Any]


class PassReport(TypedDict):
    """`figures` are measured by the verifier and other instruments, `metrics` by the pass itself."""

    position: int
    name: str
    spec: str
    changed: bool
    seconds: float
    figures: dict[str, Any]
    metrics: dict[str, Any]
    notes: list[str]
    decisions: list[DecisionReport]


class ToolReport(TypedDict):
    name: str
    version: str


class TargetReport(TypedDict):
    name: str
    description: str
    command: str


class Report(TypedDict):
    """`origins`: node of the compressed model -> the node of the input model that it stands for, where they differ."""

    schema: int
    tool: ToolReport
    model: str | None
    output: str | None
    target: TargetReport
    pipeline: str
    seed: int
    data: DataReport | None
    before: SizeReport
    after: SizeReport
    quality: QualityReport | None
    passes: list[PassReport]
    origins: dict[str, str]
    notes: list[str]


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
    )


def _decision(decision: Decision, origins: Mapping[str, str]) -> DecisionReport:
    return DecisionReport(
        node=decision.node,
        origin=origins.get(decision.node, decision.node),
        action=decision.action,
        reason=decision.reason,
        figures=dict(decision.figures),
    )


def count_actions(passes: Sequence[PassReport], name: str) -> int:
    """How many decisions of all passes are `name`."""
    return sum(decision["action"] == name for entry in passes for decision in entry["decisions"])


def to_json(report: Report) -> str:
    """The report as indented JSON; numbers that JSON cannot hold become null."""
    return json.dumps(_plain(report), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


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
