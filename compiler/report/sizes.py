"""The whole network before and after, as the lines of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from .fields import LatencyReport, MeasuredReport, PassReport, QualityReport, Report
from .formatting import counted, figure, humanized, millijoules, milliseconds, percent, rated, short, watts

Quantity = Literal["ms", "watts", "mj", "mj_above_idle"]
MEASURED, MEASURED_BEFORE = "measured_ms", "measured_before_ms"
ESTIMATED = "estimated_ms"
"""What the network takes after a pass, which `chain` says."""
MOVED, MOVED_OF = "relative_error", "relative_error:"
"""How far a pass moved the outputs: the worst of them, and before the name of each of several."""
NAMES = {
    "agreement": "Agreement with the original",
    "pixels": "Pixels that agree with the original",
    "error": "Error of the outputs, by channel",
    "accuracy": "Accuracy",
}


@dataclass(frozen=True)
class SizeLine:
    """One quantity; `kept` is after / before, where both are known, `remark` what has to be known about it."""

    name: str
    before: str
    after: str
    kept: float | None = None
    remark: str = ""

    @property
    def share(self) -> str:
        return percent(self.kept, 1)


def size_lines(report: Report) -> list[SizeLine]:
    before, after = report["before"], report["after"]
    lines = [
        _counted("MACs of the Convs", before["macs"], after["macs"]),
        _counted("Parameters of the Convs", before["params"], after["params"]),
        _counted("File, bytes", before["bytes"], after["bytes"]),
        *_latency(report),
    ]
    return lines if report["quality"] is None else [*lines, *_quality(report["quality"])]


def summed_up(report: Report) -> str:
    """What the network was and is, and how good, in a line."""
    sizes = [f"{line.name.split(',')[0]} {line.before} -> {line.after}" for line in size_lines(report)[:4]]
    quality = report["quality"]
    judged = [] if quality is None else [f"{quality['metric']} {rated(quality['metric'], quality['value'])}"]
    return ", ".join([*sizes, *judged])


def _counted(name: str, before: float | None, after: float | None) -> SizeLine:
    old, new = ("not known" if value is None else short(value) for value in (before, after))
    return SizeLine(name, old, new, after / before if before and after is not None else None)


def _latency(report: Report) -> Iterator[SizeLine]:
    before, after = report["before"]["latency"], report["after"]["latency"]
    if before is not None and after is not None:
        model = f"± {100 * after['error']:.0f} %, by the model of {report['target']['name']} at {conditions(after)}"
        remark = "; ".join(filter(None, (chain(report), model)))
        kept = after["ms"] / before["ms"] if before["ms"] else None
        yield SizeLine("Latency, estimated", milliseconds(before["ms"]), milliseconds(after["ms"]), kept, remark)
    yield from _engines(report)
    measured, known = measured_ms(report), measured_ms(report, MEASURED_BEFORE)
    if measured:
        what = f"{len(measured)} rewritten layers, on the device"
        old = sum(known[name] for name in measured) if set(measured) <= set(known) else None
        new = sum(measured.values())
        yield SizeLine("Layers, measured", milliseconds(old), milliseconds(new), new / old if old else None, what)


def _engines(report: Report) -> Iterator[SizeLine]:
    """What `build --profile --report` has measured of the engines, power mode by power mode."""
    engines = report.get("measured", [])
    for mode in dict.fromkeys(engine["mode"] for engine in engines):
        found = {engine["network"]: engine for engine in engines if engine["mode"] == mode}
        where = f"at {mode}" if mode else "on the device"
        built = ", ".join(f"{name} {found[name]['precision'].upper()}" for name in ("before", "after") if name in found)
        remark = f"median, {where}; {built}"
        yield from _measured("Latency, measured", found, "ms", milliseconds, remark)
        yield from _measured("Power, measured", found, "watts", watts, f"mean of the module, {where}{_idle(found)}")
        yield from _measured("Energy of an inference", found, "mj", millijoules, f"of the module, {where}")
        remark = f"beyond what the idle module takes, {where}"
        yield from _measured("Energy above idle", found, "mj_above_idle", millijoules, remark)


def _measured(
    name: str, engines: Mapping[str, MeasuredReport], key: Quantity, shown: Callable[[float | None], str], remark: str
) -> Iterator[SizeLine]:
    old, new = (engines[network][key] if network in engines else None for network in ("before", "after"))
    if old is not None or new is not None:
        yield SizeLine(name, shown(old), shown(new), new / old if old and new is not None else None, remark)


def _idle(engines: Mapping[str, MeasuredReport]) -> str:
    found = [engine["idle_watts"] for engine in engines.values() if engine["idle_watts"] is not None]
    return f"; idle {watts(sum(found) / len(found))}" if found else ""


def measured_ms(report: Report, figure: str = MEASURED) -> dict[str, float]:
    """What `build --report` has measured, by node of the input model."""
    found: dict[str, float] = {}
    for decision in (decision for entry in report["passes"] for decision in entry["decisions"]):
        value = decision["figures"].get(figure)
        if isinstance(value, int | float) and decision["node"] == decision["origin"]:
            found[decision["origin"]] = float(value)
    return found


def conditions(latency: LatencyReport) -> str:
    """The power mode, and the batch where it is more than one sample."""
    return latency["mode"] if latency["batch"] == 1 else f"{latency['mode']}, batch {latency['batch']}"


def chain(report: Report) -> str:
    """`3.06 ms in FP16 -> 1.62 ms in INT8 -> 1.31 ms with prune`; empty where nothing has changed the time."""
    steps = [f"{milliseconds(step['ms'])} {step['step']}" for step in report["times"]]
    return " -> ".join(steps) if len(steps) > 1 else ""


def shown(quality: QualityReport) -> str:
    """The value of the metric, with its standard error."""
    return rated(quality["metric"], quality["value"], quality["deviation"])


def shown_before(quality: QualityReport) -> str:
    """The value of the original, where it has one."""
    return rated(quality["metric"], quality["original"])


def checked(report: Report, entry: PassReport) -> str:
    """What the instruments found after a pass, in words: the metric where they judged by it, and how far the outputs
    moved where they did not."""
    figures, metric = entry["figures"], report["quality"]["metric"] if report["quality"] else ""
    judged = metric in figures
    unsaid = {metric, ESTIMATED}
    unsaid = unsaid | {MOVED} if judged else unsaid
    others = [name for name in figures if name not in unsaid and not name.startswith(MOVED_OF)]
    words = [f"{metric} {rated(metric, figures[metric])}"] if judged else []
    return ", ".join([*words, *(f"{humanized(name)} {figure(figures[name])}" for name in others)])


def seen(quality: QualityReport) -> str:
    """On which samples, and what the worst of several outputs has."""
    if quality["samples"] is None:
        return "on samples of the metric's own"
    who = "no fit has" if quality["held_out"] else "the fits have"
    return f"on {counted(quality['samples'], 'sample')} that {who} seen{_worst(quality)}"


def _worst(quality: QualityReport) -> str:
    if not quality["outputs"]:
        return ""
    name, loss = max(quality["outputs"].items(), key=lambda item: item[1])
    value = loss if quality["metric"] == "error" else 1 - loss
    return f"; worst of {len(quality['outputs'])} outputs: '{name}' {rated(quality['metric'], value)}"


def _quality(quality: QualityReport) -> Iterator[SizeLine]:
    remark = seen(quality)
    on_data = "on samples of the data" if quality["samples"] is None else remark
    if quality["top1_after"] is not None and quality["metric"] != "accuracy":
        yield SizeLine("Top-1 accuracy", percent(quality["top1_before"]), percent(quality["top1_after"]), None, on_data)
    metric = quality["metric"]
    yield SizeLine(NAMES.get(metric, metric), shown_before(quality), shown(quality), None, remark)
    if quality["output_error"] is not None and metric != "error":
        yield SizeLine("Relative error of the outputs", "", f"{quality['output_error']:.3g}", None, on_data)
