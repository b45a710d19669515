"""The user's own metric: a number for a network, the larger the better, in units of its own.

    map.py:map50       a function of a Python file or module: map50(predict) -> number
    './eval.sh {}'     a shell command; {} is the file of the network. The last line that it prints on standard output
                       is the number, and nothing else

`predict(feeds)` runs the network: a dict of arrays by input name in, a dict of all outputs by name out. Function and
command bring the samples and labels that they want. Whatever goes wrong in them is one error: an exception, an exit, no
number, NaN. A network is measured once, however often it is asked for.
"""

from __future__ import annotations

import math
import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.errors import CompressError, UsageError, nearest
from ...compiler.graph.io import graph_digest, save_graph
from ...compiler.pipeline.options import MetricFunction
from ...compiler.pipeline.registry import import_function
from ...compiler.pipeline.user_code import user_code
from ...compiler.processes import CAPTURED, run
from ..session import Session, graph_session
from ..sources import source_file

FILE = "{}"
OPTION = "--metric"
EXAMPLES = "or your own: map.py:map50, or './eval.sh {}'"
PRINTS = "it has to print the number alone on the last line, and to end with exit code 0"
RETURNS = "it is given predict(feeds), and has to return a finite number"


@dataclass
class OwnMetric:
    """What has been measured by a metric of the user's.

    Attributes:
        label: a short name, that of no other metric.
        measure: the number for a network, and how many samples it was run on, 0 where that is not known.
        samples: those of the last network that was measured.
    """

    label: str
    measure: Callable[[gs.Graph], tuple[float, int]]
    _values: dict[str, float] = field(default_factory=dict[str, float])
    _original: float | None = None
    samples: int = 0

    def original(self, network: gs.Graph) -> float:
        """Of the network that a run begins with, which is measured once."""
        if self._original is None:
            self._original = self.value(network)
        self._values.setdefault(graph_digest(network), self._original)
        return self._original

    def value(self, network: gs.Graph) -> float:
        """`CompressError` where it cannot be measured."""
        key = graph_digest(network)
        if key not in self._values:
            self._values[key], self.samples = self.measure(network)
        return self._values[key]


def own_metric(metric: str | MetricFunction, known: tuple[str, ...], original: float | None = None) -> OwnMetric | None:
    """The metric that `--metric` describes; None for one of those `known`.

    Args:
        original: its value for the network that a run begins with, where that is known.

    Raises:
        UsageError: it is neither; there is no such file or function, or it fails on import.
    """
    if not isinstance(metric, str):
        name = getattr(metric, "__name__", type(metric).__name__)
        return OwnMetric(f"{name}()", _Function(metric, f"the metric {name}"), {}, original)
    if metric in known:
        return None
    if FILE in metric:
        return OwnMetric("the command's number", _Command(metric), {}, original)
    if ":" not in metric:
        raise UsageError(f"no metric '{metric}'", OPTION, f"{nearest(metric, known)}; {EXAMPLES}")
    source, _, name = metric.rpartition(":")
    function = _Function(import_function(metric, "the metric", OPTION), metric)
    return OwnMetric(f"{Path(source).name}:{name}", function, {}, original)


def metric_file(metric: str | MetricFunction) -> Path | None:
    """The file that a function of the user's is in."""
    if not isinstance(metric, str):
        code = getattr(metric, "__code__", None)
        return None if code is None else source_file(code.co_filename)
    return source_file(metric) if ":" in metric and FILE not in metric else None


def metric_source(metric: str | MetricFunction) -> bytes:
    """What that file holds; nothing where there is none."""
    file = metric_file(metric)
    return b"" if file is None else file.read_bytes()


@dataclass(frozen=True)
class _Function:
    function: Callable[..., Any]
    where: str

    def __call__(self, network: gs.Graph) -> tuple[float, int]:
        predict = _Predict(graph_session(network), self.where)
        with user_code("the metric fails", self.where, "correct it"):
            found = self.function(predict)
        try:
            value = float(found)
        except (TypeError, ValueError):
            what = "nothing" if found is None else f"a value of type {type(found).__name__}"
            raise UsageError(f"the metric returns {what}", self.where, RETURNS) from None
        return _finite(value, self.where, RETURNS), predict.samples


@dataclass
class _Predict:
    """What the function is given; it counts samples along axis 0 of the first input."""

    session: Session
    where: str
    samples: int = 0

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            outputs = self.session.run(feeds)
        except CompressError as error:
            raise UsageError(error.what, self.where, "give predict() the inputs of the model, by name") from error
        shape = np.shape(next(iter(feeds.values()), 0))
        self.samples += shape[0] if shape else 1
        return outputs


@dataclass(frozen=True)
class _Command:
    text: str

    def __call__(self, network: gs.Graph) -> tuple[float, int]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            save_graph(network, file)
            command = self.text.replace(FILE, shlex.quote(str(file)))
            done = run(command, shell=True, text=True, errors="replace", **CAPTURED)
        where, last = f"'{self.text}'", _last_line(done.stdout)
        if done.returncode:
            said = _last_line(done.stderr) or last
            raise CompressError(f"ends with exit code {done.returncode}{f': {said}' if said else ''}", where, PRINTS)
        try:
            value = float(last)
        except ValueError:
            what = f"its last line is no number: '{last}'" if last else "it prints nothing"
            raise CompressError(what, where, PRINTS) from None
        return _finite(value, where, PRINTS), 0


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _finite(value: float, where: str, fix: str) -> float:
    if not math.isfinite(value):
        raise CompressError(f"the metric is {value}", where, fix)
    return value
