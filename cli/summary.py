"""What is printed after a run."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from ..compiler.report import LatencyReport, PassReport, QualityReport, Report, events, notes
from ..compiler.report.formatting import counted, humanized, percent, short
from ..compiler.report.sizes import chain, checked, conditions, seen, shown, shown_before


def print_summary(console: Console, report: Report, verbose: bool, page: str | None = None) -> None:
    """Passes that did nothing, sizes before and after, a line per pass, notes, files, and the next command.

    `verbose`: a line per node, too.
    """
    for event in events(report):
        console.print(f"warning: {event}", soft_wrap=True)
    console.print(_sizes(report))
    if chain(report):
        console.print(f"time: {chain(report)}", soft_wrap=True)
    console.print(_passes(report, verbose))
    if verbose:
        for entry in report["passes"]:
            _print_decisions(console, entry)
    for note in notes(report):
        console.print(f"note: {note}", soft_wrap=True)
    for path in (page, report["output"]):
        if path:
            console.print(f"wrote {path}", soft_wrap=True)
    if report["output"]:
        console.print(f"next: {report['target']['command']}", soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("before", "after", "kept", "s") else "left")
    return table


def _sizes(report: Report) -> Table:
    before, after = report["before"], report["after"]
    table = _table("", "before", "after", "kept")
    rows = (("MACs (Conv)", before["macs"], after["macs"]), ("parameters (Conv)", before["params"], after["params"]))
    for name, old, new in (*rows, ("file bytes", before["bytes"], after["bytes"])):
        share = new / old if old and new is not None else None
        table.add_row(name, *("not known" if value is None else short(value) for value in (old, new)), percent(share))
    if before["latency"] is not None and after["latency"] is not None:
        _add_latency(table, before["latency"], after["latency"])
    if report["quality"] is not None:
        _add_quality(table, report["quality"])
    return table


def _add_latency(table: Table, before: LatencyReport, after: LatencyReport) -> None:
    name = f"latency, estimated ({conditions(after)})"
    share = percent(after["ms"] / before["ms"] if before["ms"] else None)
    table.add_row(name, f"{before['ms']:.3g} ms", f"{after['ms']:.3g} ms", f"{share} ± {100 * after['error']:.0f} %")


def _add_quality(table: Table, quality: QualityReport) -> None:
    if quality["top1_after"] is not None and quality["metric"] != "accuracy":
        scope = "" if quality["samples"] is None else f" ({counted(quality['samples'], 'sample')})"
        table.add_row(f"top-1{scope}", percent(quality["top1_before"]), percent(quality["top1_after"]), "")
    table.add_row(quality["metric"], shown_before(quality), shown(quality), seen(quality))
    if quality["metric"] != "error" and quality["output_error"] is not None:
        table.add_row("relative output error", "", f"{quality['output_error']:.3g}", "")


def _passes(report: Report, verbose: bool) -> Table:
    table = _table("pass", "s", "nodes", "checked")
    for entry in report["passes"]:
        if verbose or entry["changed"] or entry["decisions"]:
            table.add_row(entry["spec"], f"{entry['seconds']:.1f}", _counts(entry), checked(report, entry))
    return table


def _counts(entry: PassReport) -> str:
    counts = Counter(decision["action"] for decision in entry["decisions"])
    words = ", ".join(f"{count} {action}" for action, count in counts.items())
    return words or ("" if entry["changed"] else "unchanged")


def _figures(figures: dict[str, float | int | str]) -> str:
    return ", ".join(f"{humanized(key)} {_value(value)}" for key, value in figures.items())


def _value(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _print_decisions(console: Console, entry: PassReport) -> None:
    for decision in entry["decisions"]:
        details = [part for part in (decision["reason"], _figures(decision["figures"])) if part]
        line = f"  {entry['name']}: {decision['node']} {decision['action']}"
        console.print(f"{line}: {'; '.join(details)}" if details else line, soft_wrap=True)
