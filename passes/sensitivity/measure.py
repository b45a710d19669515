"""How much a Conv's error counts when a budget is divided: `sensitivity=energy` (the default) or `sensitivity=output`,
which is better by a little and takes about twice the time of the whole pass, until its table is cached.

energy    every Conv's relative lost output energy counts the same: gain 1
output    Each Conv alone is projected at the sizes that lose about `LEVELS` of its output energy; the divergence of
          the network's outputs is measured on samples that no fit has seen. Its slope through the origin, fitted on
          the log scale so that the largest error does not decide,
              slope = exp(mean log(divergence / error)),        gain = (slope / geometric mean of slopes) ^ TEMPER
          The root tempers it: what the layers after a Conv make up for, when they are re-fitted, is not measured.

Measured with the basis pass on 1,024 training images, judged on all CIFAR-10 test images (`benchmarks/sensitivity.py`):
top-1, and the Kullback-Leibler divergence of the class scores from the original's:

                                    energy           output           temper 0.25     0.75            1
    ResNet-20, half the MACs        90.07  0.1193    90.32  0.1105    90.22  0.1116   90.40  0.1103   90.36  0.1181
    ResNet-56, half the MACs        92.67            92.82  0.0558
    ResNet-56, 36 % of the MACs     91.40  0.1658    91.76  0.1442

Fewer points are cheaper and mostly worse, on ResNet-20: two levels and 128 samples 90.27, 0.1161; two levels and 40
samples 90.38, 0.1201; the smallest two of the three levels 90.26, 0.1119; the middle one alone 90.27, 0.1085.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.network_cost import graph_cost
from ...compiler.errors import CompressError
from ...compiler.graph.convs import Conv, find_convs
from ...compiler.graph.shapes import infer_shapes
from ...compiler.pipeline.data import Data
from ..budgets.allocate import Choice
from ..budgets.budget import RewriteCandidate
from ..decomposition.forms import Form
from ..decomposition.survey import Watch, held_out
from ..projection.fit import Fit, total_signal
from .divergence import WeightDivergence
from .table import LayerSensitivity, SensitivityTable, cache_file, table_key

PROBED, FEWEST = 192, 32
WORK = 4e12  # multiply-accumulates that measuring may take, as far as `FEWEST` samples allow
LEVELS = (0.02, 0.08, 0.25)
TEMPER = 0.5
LEAST = 1e-9


class Weigher:
    """Gives every candidate its gain, from a table that is read, or measured while the candidates are surveyed.

    A `file` that exists is used as it is. Otherwise the cache is looked up, and a new table goes there and into `file`.
    `memory`: see `runtime.lockstep`.
    """

    def __init__(self, measure: str, file: str | None, memory: int):
        self._memory = memory
        self.measure, self._file = measure, None if file is None else Path(file)
        self._table: SensitivityTable | None = None
        self._gauge: Gauge | None = None
        self._cache: Path | None = None

    def prepare(self, graph: gs.Graph, data: Data | None, forms: Sequence[Form], options: Mapping[str, object]) -> None:
        """`CompressError` where the file is no table, or there is nothing to measure on."""
        if self._file is not None and self._file.exists():
            self._table = SensitivityTable.load(self._file)
            return
        if self.measure == "energy":
            return
        held = None if data is None else held_out(data, _affordable(graph, data))
        if data is None or held is None:
            fix = "give --data, or more of them"
            raise CompressError(f"sensitivity={self.measure} needs data to hold out", "sensitivity", fix)
        self._cache = cache_file(table_key(graph, data, {"measure": self.measure, **options}))
        self._table = _cached(self._cache)
        self._gauge = None if self._table else Gauge(WeightDivergence(graph, held, self._memory), forms)

    @property
    def gauge(self) -> Gauge | None:
        """What is to measure a new table, after `prepare`; None where there is one, or none is wanted."""
        return self._gauge

    @property
    def watch(self) -> Watch | None:
        """What the survey shows its candidates."""
        return None if self._gauge is None else self._gauge.measure

    def weigh(self, candidates: Sequence[RewriteCandidate]) -> list[RewriteCandidate]:
        """The candidates with their gains; a table just measured is written."""
        known = self.gains()
        if known is None:
            return list(candidates)
        return [replace(candidate, gain=known.get(candidate.conv.name, 1.0)) for candidate in candidates]

    def gains(self) -> dict[str, float] | None:
        """By layer, None where all count the same; a table just measured is written."""
        if self._gauge is not None:
            self._table = self._gauge.table()
        table = self._table
        if table is None:
            return None
        if self._file is not None and not self._file.exists():
            table.save(self._file)
        if self._gauge is not None and self._cache is not None:
            with suppress(CompressError):  # a cache that cannot be written costs time only
                table.save(self._cache)
        return {name: entry.gain for name, entry in table.layers.items()}


@dataclass
class Gauge:
    """Measures Conv by Conv; `points` holds (relative error, divergence) by name."""

    probe: WeightDivergence
    forms: Sequence[Form]
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict[str, "list[tuple[float, float]]"])

    def measure(self, conv: Conv, fits: Sequence[Fit], choices: Sequence[Choice]) -> None:
        """Ask in graph order; `choices[0]` is the dense one."""
        forms = {form.name: form for form in self.forms}
        tried = [forms[choice.form].project(conv, fits, choice.size).dense for choice in _spread(choices[1:])]
        errors = [_lost(fits, dense) for dense in tried]
        weights = [(np.concatenate(list(dense)), _bias(fits, dense)) for dense in tried]
        found = self.probe.divergences(conv, weights)
        self.points[conv.name] = list(zip(errors, found, strict=True))

    def table(self) -> SensitivityTable:
        slopes = {name: _slope(points) for name, points in self.points.items()}
        middle = float(np.exp(np.mean([np.log(slope) for slope in slopes.values()] or [0.0])))
        return SensitivityTable(
            "output",
            {
                name: LayerSensitivity((slope / middle) ** TEMPER, tuple(self.points[name]))
                for name, slope in slopes.items()
            },
        )


def _affordable(graph: gs.Graph, data: Data) -> int:
    """How many samples to measure on: for every Conv and level, on average half of the network is run."""
    sample = {name: values.shape for name, values in next(iter(data.batches(1))).items()}
    each = graph_cost(graph, infer_shapes(graph, sample)).macs * len(list(find_convs(graph))) * len(LEVELS) / 2
    return int(min(PROBED, max(FEWEST, WORK / max(each, 1))))


def _cached(path: Path) -> SensitivityTable | None:
    with suppress(CompressError):
        return SensitivityTable.load(path)
    return None


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Divergence per error, the geometric mean over the points."""
    rates = [max(cost, LEAST) / max(error, LEAST) for error, cost in points]
    return float(np.exp(np.mean(np.log(rates or [1.0]))))


def _spread(choices: Sequence[Choice]) -> list[Choice]:
    """The choices that lose about `LEVELS`, the cheaper of two forms."""

    def distance(choice: Choice, level: float) -> tuple[float, float]:
        return round(abs(float(np.log(max(choice.error, LEAST) / level))), 1), choice.costs["macs"]

    found = [min(choices, key=lambda choice: distance(choice, level)) for level in LEVELS]
    return list({(choice.form, choice.size): choice for choice in found}.values())


def _lost(fits: Sequence[Fit], dense: Sequence[np.ndarray]) -> float:
    lost = sum(fit.lost(weight) for fit, weight in zip(fits, dense, strict=True))
    return lost / total_signal(fits)


def _bias(fits: Sequence[Fit], dense: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([fit.bias(weight) for fit, weight in zip(fits, dense, strict=True)])
