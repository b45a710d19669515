"""What trtexec prints, read: version, latency, and why it failed.

Source: NVIDIA/TensorRT, samples/common/sampleReporting.cpp and logger.h; onnx-tensorrt, ModelImporter.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .messages import clean, is_echo, matters, node_line, once

_STAMP = re.compile(r"^\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] ")
_LEVEL = re.compile(r"^\[([EW])\] (?:\[TRT\] )?(?:Error\[\d+\]: )?(.*)$")
_VERSION = re.compile(r"\[TensorRT v(\d+)\]")
_NODE = re.compile(r"While parsing node number (\d+) \[(\S+)")
_NAME = re.compile(r'^name: "(.*)"$')
_IN_FUNCTION = re.compile(r"In function \S+:$")
_ASSERTION = re.compile(r"^\[\d+\] (.*)$")
_FIGURE = re.compile(r"([\w(%.)]+) = ([\d.eE+-]+) ms")


@dataclass(frozen=True)
class LatencyStatistics:
    """Milliseconds of one inference; `percentiles`: 99 -> ms."""

    min: float
    max: float
    mean: float
    median: float
    percentiles: dict[float, float]


@dataclass(frozen=True)
class TrtexecReport:
    """A run of trtexec.

    Attributes:
        version: "8.5.2", empty where it did not say.
        passed: whether it said so itself.
        errors, warnings: a line each; errors of the parser name the node.
        latency: host to host; gpu: the kernels alone. None where nothing was run.
        throughput: inferences per second.
    """

    version: str
    passed: bool
    errors: list[str]
    warnings: list[str]
    latency: LatencyStatistics | None
    gpu: LatencyStatistics | None
    throughput: float | None


def read_log(text: str) -> TrtexecReport:
    """Everything that the output of trtexec says."""
    lines = [_STAMP.sub("", line.rstrip()) for line in text.splitlines()]
    found = [match.groups() for line in lines if (match := _LEVEL.match(line))]
    said = [message for level, message in found if level == "E"]
    parser = list(_parser_errors(lines))
    throughput = re.search(r"Throughput: ([\d.eE+-]+) qps", text)
    return TrtexecReport(
        version=read_version(text),
        passed="&&&& PASSED" in text,
        errors=once(parser or [clean(message) for message in said if not is_echo(message)] or map(clean, said)),
        warnings=once(clean(message) for level, message in found if level == "W" and matters(message)),
        latency=_latency(lines, "Latency"),
        gpu=_latency(lines, "GPU Compute Time"),
        throughput=float(throughput[1]) if throughput else None,
    )


def read_version(text: str) -> str:
    """ "v8502" is 8.5.2, "v100300" is 10.3.0."""
    found = _VERSION.search(text)
    if found is None:
        return ""
    number = int(found[1])
    major, rest = divmod(number, 10000) if number >= 100000 else divmod(number, 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _parser_errors(lines: Iterable[str]) -> Iterator[str]:
    """The node is announced, printed in full, and followed by the reason."""
    index, op, name, expected = -1, "", "", False
    for line in lines:
        level = _LEVEL.match(line)
        words = level[2] if level else line
        if node := _NODE.search(words):
            index, op, name = int(node[1]), node[2].rstrip("]:"), ""
        elif found := _NAME.match(words):
            name = found[1]
        elif _IN_FUNCTION.search(words):
            expected = True
        elif expected and (reason := _ASSERTION.match(words)):
            yield node_line(index, name, op, reason[1])
            index, op, name, expected = -1, "", "", False


def _latency(lines: Iterable[str], heading: str) -> LatencyStatistics | None:
    line = next((line for line in lines if line.startswith(f"[I] {heading}: min")), None)
    if line is None:
        return None
    figures = {name: float(value) for name, value in _FIGURE.findall(line)}
    percentiles = {float(name[11:-2]): value for name, value in figures.items() if name.startswith("percentile(")}
    plain = {name: figures.get(name, float("nan")) for name in ("min", "max", "mean", "median")}
    return LatencyStatistics(**plain, percentiles=percentiles)
