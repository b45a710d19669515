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
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, log, prod

import numpy as np
import onnx_graphsurgeon as gs

from ..errors import CompressError
from ..graph.convs import find_convs
from ..graph.shapes import Shapes
from .layer_times import LayerTimes
from .workload import ConvWorkload, LatencyModel, conv_workload

NEIGHBOURS = 4
NOTE = "times of {} of the {} Convs are from the device; of others the estimate times {:.2g} to {:.2g} (median {:.2g})"


@dataclass(frozen=True, eq=False)
class ScaledLatencyModel:
    """A `LatencyModel`; see the module docstring.

    Attributes:
        estimate: of a Conv, in the precision and power mode of `times`.
        times: of engines, with at least one Conv; Convs of other precisions have been taken out.
        where: the option that names them, for errors.
    """

    estimate: LatencyModel
    times: Sequence[LayerTimes]
    where: str
    _ratios: dict[ConvWorkload, float] = field(default_factory=dict[ConvWorkload, float], repr=False)

    def conv(self, workload: ConvWorkload) -> float:
        key = _plain(workload)
        if key not in self._ratios:
            self._ratios[key] = self._ratio(key)
        return self.estimate.conv(workload) * self._ratios[key]

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        """`CompressError` where no Conv of the network was measured."""
        workloads = [conv_workload(conv, shapes) for conv in find_convs(graph)]
        return sum(map(self.conv, workloads)) + self._others(workloads)

    def note(self, graph: gs.Graph, shapes: Shapes) -> str:
        """How much of the network was measured, and by how much the estimates are off."""
        workloads = [_plain(conv_workload(conv, shapes)) for conv in find_convs(graph)]
        known = {timed.workload for each in self.times for timed in each.convs}
        ratios = sorted(map(self._ratio, known))
        return NOTE.format(
            sum(each in known for each in workloads), len(workloads), ratios[0], ratios[-1], ratios[len(ratios) // 2]
        )

    def _others(self, workloads: Sequence[ConvWorkload]) -> float:
        wanted = Counter(map(_plain, workloads))
        shared = [(wanted & Counter(_plain(timed.workload) for timed in each.convs)).total() for each in self.times]
        if not max(shared):
            fix = "build what enters the pipeline, of this input size and batch, with --profile; name the file"
            raise CompressError("none of the network's Convs was measured", self.where, fix)
        return self.times[shared.index(max(shared))].others_ms

    def _ratio(self, workload: ConvWorkload) -> float:
        places, logs, grouped = self._measured
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

    @cached_property
    def _measured(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every measured Conv its place (n, 6), log(measured / estimated) (n,), and whether it is grouped (n,)."""
        every = [timed for each in self.times for timed in each.convs]
        logs = [log(timed.ms / self.estimate.conv(timed.workload)) for timed in every]
        places = np.array([_place(timed.workload) for timed in every])
        return places, np.array(logs), np.array([timed.workload.group > 1 for timed in every])


def _place(workload: ConvWorkload) -> np.ndarray:
    rows = (workload.batch * positions for positions in workload.positions())
    sizes = workload.channels_in, workload.channels_out, prod(workload.kernel), workload.group, *rows
    return np.log2(np.array(sizes, float))


def _plain(workload: ConvWorkload) -> ConvWorkload:
    """What its time hangs on."""
    known = workload.channels_in, workload.channels_out, workload.kernel, workload.group
    return ConvWorkload(*known, workload.positions_in, workload.positions_out, batch=workload.batch)
