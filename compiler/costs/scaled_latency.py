"""A device's latency model, corrected by times that were measured on it.

    conv(w) = estimate(w) ratio(w)          ratio(w): measured / estimated, of the measured Convs nearest to w

A Conv is a point in the space of the logarithms (base 2) of its input channels, filters, kernel size, groups, and
positions of the batch, in and out. Nearest are the `NEIGHBOURS` closest ones, of its own kind (grouped or not) where
one was measured. Their ratios are averaged on the log scale with the weights 1 / distance^2 (Shepard), so that a Conv
that was measured has its own time, the mean of several, and one that becomes more and more like it has nearly that.

    graph(g) = sum of conv(w) + the time of all other layers, as measured

The others are those of the measured network that shares most Convs with `g`; rewriting a Conv leaves them as they are.

What it cannot know: a measured time includes what the engine fused into the layer, an estimated one of a Conv does not,
so that the ratio carries it over to each Conv of a chain, which has it once; the builder's choice of a kernel jumps
where the ratio is smooth; and far from everything that was measured the ratio is only the device's mean. It corrects
where the estimate is off for a kind of layer, not how it grows with the size. Build what was found, with --profile, and
name that file, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import exp, log, prod

import numpy as np
import onnx_graphsurgeon as gs

from ..errors import CompressError
from ..graph.convs import find_convs
from ..graph.shapes import Shapes
from .latency.precision import Precision
from .layer_times import LayerTimes, TimedConv
from .workload import ConvWorkload, LatencyModel, conv_workload

Key = tuple[ConvWorkload, Precision]
NEIGHBOURS = 4
NOTE = "times of {} of the {} Convs are from the device; of others the estimate times {:.2g} to {:.2g} (median {:.2g})"


@dataclass(frozen=True, eq=False)
class ScaledLatencyModel:
    """A `LatencyModel`; see the module docstring.

    Attributes:
        estimate: in the power mode of `times`.
        times: of engines.
        where: the option that names them, for errors.
        precision: in which `estimate` takes a Conv; mixed: one that is quantized in the graph it takes in INT8.
    """

    estimate: LatencyModel
    times: Sequence[LayerTimes]
    where: str
    precision: Precision = "fp16"
    mixed: bool = False
    _ratios: dict[Key, float] = field(default_factory=dict[Key, float], repr=False)

    def conv(self, workload: ConvWorkload) -> float:
        key = self._key(workload)
        if key not in self._ratios:
            self._ratios[key] = self._ratio(*key)
        return self.estimate.conv(workload) * self._ratios[key]

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        workloads = [conv_workload(conv, shapes) for conv in find_convs(graph)]
        shared = self._shared(workloads)
        return sum(map(self.conv, workloads)) + self.times[shared.index(max(shared))].others_ms

    def check(self, graph: gs.Graph, shapes: Shapes) -> None:
        """`CompressError` where no Conv was measured in the precision, or none of the network's."""
        if self.precision not in self._measured:
            what, precision = f"nothing was measured in {self.precision.upper()}", self.precision.upper()
            raise CompressError(what, self.where, f"build an engine in {precision} with --profile and add its file")
        if not max(self._shared([conv_workload(conv, shapes) for conv in find_convs(graph)])):
            fix = "build what enters the pipeline, of this input size and batch, with --profile; name the file"
            raise CompressError("none of the network's Convs was measured", self.where, fix)

    def note(self, graph: gs.Graph, shapes: Shapes) -> str:
        """How much of the network was measured, and by how much the estimates are off."""
        workloads = [self._key(conv_workload(conv, shapes)) for conv in find_convs(graph)]
        known = {_key(timed) for timed in self._every if timed.precision == self.precision}
        ratios = sorted(self._ratio(*key) for key in known)
        return NOTE.format(
            sum(each in known for each in workloads), len(workloads), ratios[0], ratios[-1], ratios[len(ratios) // 2]
        )

    def _shared(self, workloads: Sequence[ConvWorkload]) -> list[int]:
        """How many Convs each of the measured networks has in common with these."""
        wanted = Counter(map(self._key, workloads))
        return [(wanted & Counter(map(_key, each.convs))).total() for each in self.times]

    def _key(self, workload: ConvWorkload) -> Key:
        """What its time hangs on."""
        return _plain(workload), "int8" if workload.quantized and self.mixed else self.precision

    def _ratio(self, workload: ConvWorkload, precision: Precision) -> float:
        """1 where nothing was measured in that precision."""
        if precision not in self._measured:
            return 1.0
        places, logs, grouped = self._measured[precision]
        alike = grouped == (workload.group > 1)
        if alike.any():
            places, logs = places[alike], logs[alike]
        distances = ((places - _place(workload)) ** 2).sum(axis=1)
        same = distances == 0
        if same.any():
            return exp(float(logs[same].mean()))
        nearest = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        weights = 1 / distances[nearest]
        return exp(float((weights * logs[nearest]).sum() / weights.sum()))

    @property
    def _every(self) -> list[TimedConv]:
        return [timed for each in self.times for timed in each.convs]

    @cached_property
    def _measured(self) -> dict[Precision, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of every measured Conv its place (n, 6), log(measured / estimated) (n,), and whether it is grouped (n,)."""
        found: dict[Precision, list[TimedConv]] = {}
        for timed in self._every:
            found.setdefault(timed.precision, []).append(timed)
        return {precision: self._arrays(every) for precision, every in found.items()}

    def _arrays(self, every: Sequence[TimedConv]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        places = np.array([_place(timed.workload) for timed in every])
        as_built = [replace(timed.workload, quantized=timed.precision == "int8") for timed in every]
        logs = [log(timed.ms / self.estimate.conv(each)) for timed, each in zip(every, as_built, strict=True)]
        return places, np.array(logs), np.array([timed.workload.group > 1 for timed in every])


def _key(timed: TimedConv) -> Key:
    return _plain(timed.workload), timed.precision


def _place(workload: ConvWorkload) -> np.ndarray:
    rows = (workload.batch * positions for positions in workload.positions())
    sizes = workload.channels_in, workload.channels_out, prod(workload.kernel), workload.group, *rows
    return np.log2(np.array(sizes, float))


def _plain(workload: ConvWorkload) -> ConvWorkload:
    known = workload.channels_in, workload.channels_out, workload.kernel, workload.group
    return ConvWorkload(*known, workload.positions_in, workload.positions_out, batch=workload.batch)
