"""A row per output, where there are several: what it loses in the end, and how far each pass moved it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .fields import Report
from .formatting import figure, rated
from .sizes import MOVED_OF, NAMES


@dataclass(frozen=True)
class OutputTable:
    """`rows` are (output, cells), a cell for each of `columns`, empty where nothing is known."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


def output_table(report: Report) -> OutputTable | None:
    """None where there is one output, or nothing is known of them."""
    columns = [*_judged(report), *_moved(report)]
    names = dict.fromkeys(name for _, cells in columns for name in cells)
    if len(names) < 2:
        return None
    rows = [(name, [cells.get(name, "") for _, cells in columns]) for name in names]
    return OutputTable([heading for heading, _ in columns], rows)


def _judged(report: Report) -> Iterator[tuple[str, Mapping[str, str]]]:
    quality = report["quality"]
    if quality is None or not quality["outputs"]:
        return
    metric = quality["metric"]
    values = {name: loss if metric == "error" else 1 - loss for name, loss in quality["outputs"].items()}
    yield NAMES.get(metric, metric), {name: rated(metric, value) for name, value in values.items()}


def _moved(report: Report) -> Iterator[tuple[str, Mapping[str, str]]]:
    """||a - b|| / ||a|| of each output a before a pass and b after it, of passes that moved one."""
    for entry in report["passes"]:
        found = {key: value for key, value in entry["figures"].items() if key.startswith(MOVED_OF)}
        if any(found.values()):
            cells = {key.removeprefix(MOVED_OF): figure(value) for key, value in found.items()}
            yield f"moved by {entry['name']}", cells
