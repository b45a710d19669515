"""A row per Conv: what every pass decided about it, and what it cost before and after.

Rows are the Convs of the model that entered the passes, then whatever else a pass decided about (a Gemm, a Conv in the
body of a Loop). What only cleaned up is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from .fields import DecisionReport, LayerReport, Report
from .formatting import figure, humanized
from .sizes import MEASURED, MEASURED_BEFORE, measured_ms

LISTED_ACTIONS = ("rewritten", "refitted", "quantized", "kept", "skipped")
REMOVED = "removed"
"""Listed of a layer, and of what has figures: a block. Of other nodes that go with a block it says nothing new."""
IN_COLUMNS = ("form", "size", "full_size", "error", "weight_error", "sensitivity", "units", "units_kept")
TIMES = (MEASURED_BEFORE, MEASURED)
COSTS = ("macs_before", "macs_after", "latency_before", "latency_after")


@dataclass
class Row:
    """One layer. Costs are None where they are not known; `decisions` are (pass, action), `why` reasons and figures
    that have no column."""

    name: str
    weight: Sequence[int] | None = None
    macs_before: int | None = None
    macs_after: int | None = None
    ms_before: float | None = None
    ms_after: float | None = None
    measured_before: float | None = None
    measured: float | None = None
    form: str = ""
    size: int | None = None
    full: int | None = None
    error: float | None = None
    int8_error: float | None = None
    int8_loss: float | None = None
    int8_divergence: float | None = None
    ms_saved: float | None = None
    sensitivity: float | None = None
    decisions: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    why: list[str] = field(default_factory=list[str])

    @property
    def shape(self) -> str:
        return "" if self.weight is None else " x ".join(map(str, self.weight))

    @property
    def kept(self) -> float | None:
        return self.macs_after / self.macs_before if self.macs_before and self.macs_after is not None else None

    @property
    def actions(self) -> list[str]:
        return list(dict.fromkeys(action for _, action in self.decisions))


def rows(report: Report) -> list[Row]:
    """In graph order."""
    found = {layer["name"]: _of_layer(layer) for layer in report["layers"]}
    for name, decision in _decisions(report, set(found)):
        row = found.setdefault(decision["origin"], Row(decision["origin"]))
        _add(row, name, decision)
    before, after = (measured_ms(report, figure) for figure in TIMES)
    for name, row in found.items():
        row.measured_before, row.measured = before.get(name), after.get(name)
    return list(found.values())


def _of_layer(layer: LayerReport) -> Row:
    before, after = layer["before"], layer["after"]
    costs = (before["macs"], after["macs"], before["ms"], after["ms"])
    return Row(layer["name"], layer["weight"], *costs)


def _decisions(report: Report, layers: Set[str]) -> Iterator[tuple[str, DecisionReport]]:
    for entry in report["passes"]:
        yield from ((entry["name"], each) for each in entry["decisions"] if _is_listed(each, layers))


def _is_listed(decision: DecisionReport, layers: Set[str]) -> bool:
    if decision["action"] == REMOVED:
        return decision["origin"] in layers or bool(decision["figures"])
    return decision["action"] in LISTED_ACTIONS


def _add(row: Row, name: str, decision: DecisionReport) -> None:
    figures = decision["figures"]
    if (name, decision["action"]) not in row.decisions:
        row.decisions.append((name, decision["action"]))
    if decision["reason"]:
        _add_note(row, f"{name}: {decision['reason']}")
    row.form = str(figures.get("form", row.form))
    row.size = _whole(figures, ("size", "units_kept"), row.size)
    row.full = _whole(figures, ("full_size", "units"), row.full)
    row.error = _number(figures, "error", row.error)
    row.sensitivity = _number(figures, "sensitivity", row.sensitivity)
    row.int8_error = _largest(row.int8_error, figures, "weight_error")
    row.int8_loss = _largest(row.int8_loss, figures, "int8_loss")
    row.int8_divergence = _largest(row.int8_divergence, figures, "int8_divergence")
    saved = _number(figures, "ms_saved", None)
    row.ms_saved = row.ms_saved if saved is None else saved + (row.ms_saved or 0.0)
    if row.macs_before is None:
        row.macs_before = _whole(figures, ("macs_before",), None)
        row.macs_after = _whole(figures, ("macs_after",), None)
    others = {
        key: value for key, value in figures.items() if key not in (*IN_COLUMNS, *COSTS, *TIMES) and value is not None
    }
    if others and name != "quantize":
        _add_note(row, f"{name}: " + ", ".join(f"{humanized(key)} {figure(value)}" for key, value in others.items()))


def _add_note(row: Row, sentence: str) -> None:
    if sentence not in row.why:
        row.why.append(sentence)


def _number(figures: Mapping[str, Any], key: str, otherwise: float | None) -> float | None:
    value = figures.get(key)
    return float(value) if isinstance(value, int | float) else otherwise


def _largest(known: float | None, figures: Mapping[str, Any], key: str) -> float | None:
    """Of several nodes that stand for one layer."""
    value = _number(figures, key, None)
    return known if value is None else max(value, known or 0.0)


def _whole(figures: Mapping[str, Any], keys: Sequence[str], otherwise: int | None) -> int | None:
    found = next((figures[key] for key in keys if isinstance(figures.get(key), int | float)), otherwise)
    return None if found is None else int(found)
