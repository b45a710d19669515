"""Which layers stay in float so that a quantized network keeps its answers, at the least cost of time.

    D_l    what INT8 in layer l alone costs at the outputs (`passes.sensitivity.measure`)
    t      how much longer the network takes with some layers in float and all others in INT8 (`time_saved`)

Layers that share a weight leave INT8 together, and so do neighbours where that costs less: in what order, says
`leaving_order`. The first k groups stay in float, k being the smallest found with which the quantized network keeps the
budget, judged on samples that no range and no rounding has seen. Codes, scales and biases of a layer do not depend on
what is done to the others: a trial writes them, and fits nothing.

Trials begin with all layers in INT8; the second leaves in float what costs no time. As long as none passes the next has

    sum of D_l <= that of the trial before * (allowed / lost)^p        p = 2 where an error is held, a root of D, else 1

in INT8, and takes at least twice as much longer as the one before (at least 1 / `FIRST` of what all of them take
longer): what is judged by few samples, or by a metric of the user's, may fail by chance. Between one that fails and one
that passes the next is half-way in time.

What is found, in microseconds that the network takes longer than all in INT8, and layers in float, beside a search
along the order of D_l / t_l that halves log D (calibration samples):

    YOLOX-nano     metric-drop=1      65, 51 layers       116, 61
    MobileNetV2    agreement=0.99    355, 34              571, 52
    DeepLab        error=0.02        606, 45              670, 45

Budgets in units of the user's own metric are held as they are measured, without the margin that `budgets.search` keeps:
where the smallest of errors decides, luck would drive every layer into float.

Sources: layers by what their quantization costs, given back until the accuracy holds, as in NNCF's accuracy control and
AIMET's automatic mixed precision; the knapsack over time as in HALP (Shen et al., NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.pipeline.traces import Trial, Trials
from ...compiler.report.formatting import counted
from ...runtime.quality.comparison import Judged
from ...runtime.quality.distances import NormalisedError
from ...runtime.rounded_inputs import measurable
from ...runtime.rows import in_graph_order
from ...runtime.subsets import evenly
from ..budgets.budget import Budget, BudgetUnreachable
from ..budgets.search import BudgetSearch
from ..sensitivity.measure import WeightDivergence
from .leaving_order import LeavingOrder, UnitTimes, leaving_order, neighbours
from .quantizer import Quantizer
from .time_saved import TimeSaved

TRIALS = 8
MEASURED = 32
"""Samples that D is measured on."""
FIRST = 32


@dataclass(frozen=True)
class Outcome:
    """What a search has found.

    Attributes:
        divergences: D_l of the layers that may stay in float.
        saved: t_l of these.
        in_float: the layers that stay.
        judged: the network with these in float and the others in INT8.
        tried: networks that were judged, by how much longer they take than with all in INT8.
    """

    divergences: Mapping[str, float]
    saved: TimeSaved
    in_float: Sequence[str]
    judged: Judged
    tried: Sequence[tuple[float, Judged]]

    def note(self, search: BudgetSearch) -> str:
        """The outcome in a sentence."""
        count, trials = len(self.in_float), counted(len(self.tried), "trial")
        cost = self.saved.cost(self.in_float)
        layers = f"{counted(count, 'layer')} in float{cost}" if count else "every layer in INT8"
        every = "every layer stays in float that may: " if count == len(self.divergences) > 0 else ""
        return f"{every}{search.figure(self.judged.loss)} with {layers}, by {trials}, judged {search.how()}"

    def metrics(self, search: BudgetSearch) -> dict[str, float]:
        found = {"trials": float(len(self.tried)), "in_float": float(len(self.in_float))}
        return {**found, search.rule: search.value(self.judged.loss)}

    def trace(self, search: BudgetSearch) -> Trials:
        """The trials, for the report: shares of the time with all in INT8."""
        whole, tried = self.saved.whole or 1.0, list[Trial]()
        for longer, each in self.tried:
            value, bound = search.value(each.loss), search.value(each.bound)
            tried.append(Trial(1.0, value, bound, search.allows(each), 1 + longer / whole))
        return Trials(search.rule, search.value(search.allowed), tuple(tried), "int8")

    def reasons(self, budget: Budget) -> dict[str, str]:
        """By layer."""
        return {name: f"stays in float for {budget}: {self._worth(name)}" for name in self.in_float}

    def _worth(self, name: str) -> str:
        costs, saved = f"INT8 in it alone costs {self.divergences[name]:.2g} of the outputs", self.saved.ms.get(name)
        if saved is None:
            return costs
        return f"{costs}, and {'saves' if saved >= 0 else 'takes longer by'} {1000 * abs(saved):.1f} us"


def search_precision(
    quantizer: Quantizer, layers: Sequence[gs.Node], saved: TimeSaved, search: BudgetSearch
) -> Outcome:
    """Searches; `layers` have been rounded. Those whose `noise` is set by name stay in INT8.

    `BudgetUnreachable` where the budget is not kept even with all others in float.
    """
    outcome = fewest_in_float(quantizer, layers, Leaving.of(quantizer, layers, saved), search)
    if not search.allows(outcome.judged):
        raise _unreachable(search, outcome.judged, len(outcome.in_float))
    return outcome


def fewest_in_float(quantizer: Quantizer, layers: Sequence[gs.Node], leaving: Leaving, search: BudgetSearch) -> Outcome:
    """The first groups of `leaving` that keep the budget, all where none does."""
    trials = _Trials(quantizer, {node.name for node in layers}, leaving, search)
    in_float, judged = trials.run()
    tried = [(float(leaving.order.times[count]), each) for count, each in trials.judged.items()]
    return Outcome(leaving.divergences, leaving.saved, in_float, judged, tried)


@dataclass(frozen=True, eq=False)
class Leaving:
    """In what order layers leave INT8.

    Attributes:
        divergences: D_l of the layers that may.
        saved: t_l of these.
        units: the names of those that leave together.
    """

    divergences: Mapping[str, float]
    saved: TimeSaved
    units: Sequence[Sequence[str]]
    order: LeavingOrder

    @staticmethod
    def of(quantizer: Quantizer, layers: Sequence[gs.Node], saved: TimeSaved, samples: int = MEASURED) -> Leaving:
        """`layers` have been rounded; those whose `noise` is set by name stay. D is measured on `samples`."""
        ctx = quantizer.ctx
        free = {node.name for node in layers if "noise" not in ctx.settings(node.name)}
        divergences = _divergences(quantizer, free, samples)
        units = [unit for unit in quantizer.sharing() if divergences.keys() >= set(unit)]
        times = UnitTimes.of(units, neighbours(quantizer.graph, units), saved, ctx.progress)
        order = leaving_order([sum(divergences[name] for name in unit) for unit in units], times)
        alone = {name: time / len(unit) for unit, time in zip(units, times.alone, strict=True) for name in unit}
        return Leaving(divergences, replace(saved, by_layer=alone), units, order)

    def within(self, time: float) -> Leaving:
        """The first groups, as long as the network takes at most that much longer, and those that cost no time."""
        order = self.order
        count = max(int((np.maximum.accumulate(order.times) <= time).sum()) - 1, order.free)
        return replace(self, order=replace(order, groups=order.groups[:count], times=order.times[: count + 1]))

    def in_float(self, count: int) -> list[str]:
        """The layers of the first `count` groups."""
        return [name for unit in self.order.units(count) for name in self.units[unit]]


@dataclass(frozen=True, eq=False)
class _Trials:
    """Networks that are judged, by how many groups of `order` have left INT8.

    Attributes:
        layers: that have been rounded, by name.
    """

    quantizer: Quantizer
    layers: Set[str]
    leaving: Leaving
    search: BudgetSearch
    judged: dict[int, Judged] = field(default_factory=dict[int, Judged])

    def run(self) -> tuple[list[str], Judged]:
        """The layers that stay in float, and what the network is with them: the fewest found that keep the budget,
        all that may where none does."""
        most, count, order = sum(map(len, self.leaving.units)), 0, self.leaving.order
        with self.quantizer.ctx.progress(f"mixed precision, at most {TRIALS} trials", TRIALS) as advance:
            while len(self.judged) < TRIALS and count not in self.judged:
                self._judge(count)
                advance(f"{len(self.leaving.in_float(count))} of {most} in float")
                count = _next(self.judged, order, self.search)
        passed = [count for count, each in self.judged.items() if self.search.allows(each)]
        best = min(passed, default=len(order.groups))
        return self.leaving.in_float(best), self.judged[best] if best in self.judged else self._judge(best)

    def _judge(self, count: int) -> Judged:
        written = self.quantizer.written(self.layers - set(self.leaving.in_float(count)))
        self.judged[count] = self.search.judge.judge(written)
        return self.judged[count]


def _unreachable(search: BudgetSearch, judged: Judged, count: int) -> BudgetUnreachable:
    found = f"{search.figure(judged.held)} with {counted(count, 'layer')} in float, judged {search.how()}"
    why = "the passes before have lost more, or --set keeps layers in INT8"
    return BudgetUnreachable(f"{search.figure(search.allowed)} cannot be reached", "budget", f"{why}: {found}")


def _next(tried: Mapping[int, Judged], order: LeavingOrder, search: BudgetSearch) -> int:
    """How many groups leave in the next trial; a number that has been tried where nothing is between."""
    passed = {count: search.allows(judged) for count, judged in tried.items()}
    good = min((count for count in passed if passed[count]), default=len(order.groups))
    bad = max((count for count in passed if not passed[count] and count < good), default=good)
    first = max(bad + 1, order.free)
    if first >= good or passed.get(good) is False:
        return good
    if bad < order.free:
        return order.free
    times = np.maximum.accumulate(np.append(np.zeros(order.free), order.times[order.free :] - order.times[order.free]))
    if good in tried:
        middle = (times[bad] + times[good]) / 2
        return min(first + _below(times[first:good], middle), good - 1)
    return min(max(first, _predicted(tried[bad], bad, order, search), _doubled(times, bad)), good)


def _predicted(failed: Judged, count: int, order: LeavingOrder, search: BudgetSearch) -> int:
    """How many groups leave where the loss follows the divergence, see the module docstring."""
    allowed = max(search.allowed, search.least * search.unit)
    share = (allowed / failed.held) ** (2 if failed.metric == NormalisedError.metric else 1)
    return int(np.argmax(order.left <= share * order.left[count]))


def _doubled(times: np.ndarray, count: int) -> int:
    """How many leave where it takes twice as much longer."""
    return _below(times, max(2 * times[count], times[-1] / FIRST))


def _below(rising: np.ndarray, limit: float) -> int:
    return int((rising < limit).sum())


def _divergences(quantizer: Quantizer, free: Set[str], samples: int) -> dict[str, float]:
    """D_l of the layers named `free`; those whose rows cannot be read off their tensors are tried in whole networks."""
    ctx, graph = quantizer.ctx, quantizer.graph
    data = ctx.judging or ctx.data
    assert data is not None
    divergence = WeightDivergence(graph, evenly(data, samples), ctx.activation_bytes)
    layers = in_graph_order(graph, measurable(graph, lambda node: node.name in free))
    others = free - {layer.name for layer in layers}
    units = [unit for unit in map(set, quantizer.sharing()) if unit & others]
    found: dict[str, float] = {}
    with ctx.progress("sensitivity to INT8", len(layers) + len(units)) as advance:
        for layer in layers:
            rounded = [quantizer.rounded(layer)]
            (found[layer.name],) = divergence.divergences(layer, rounded, quantizer.grid(layer.input))
            advance()
        for unit in units:
            found |= dict.fromkeys(unit & others, divergence.of(quantizer.written(unit)) / len(unit & others))
            advance()
    return found
