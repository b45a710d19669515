"""Which layers stay in float so that a quantized network keeps its answers, at the least cost of time.

    D_l    what INT8 in layer l alone costs at the outputs (`passes.sensitivity.measure`)
    t_l    how much longer the network takes with l in float and all others in INT8 (`quantization.time_saved`)

The layers are ordered by falling D_l / t_l, as in a knapsack; the first k of them stay in float, those that share a
weight together. k is the smallest found with which the quantized network keeps the budget, judged on samples that no
range and no rounding has seen. What is left of the D_l beyond k falls by orders of magnitude within few layers: the
next trial is where it is the geometric mean of what is left at one k that fails and at one that passes. Codes, scales
and biases of a layer do not depend on what is done to the others: a trial writes them, and fits nothing.

Budgets in units of the user's own metric are held as they are measured, without the margin that `budgets.search` keeps:
where the smallest of errors decides, luck would drive every layer into float.

Sources: layers by what their quantization costs, given back until the accuracy holds, as in NNCF's accuracy control and
AIMET's automatic mixed precision; the knapsack over time as in HALP (Shen et al., NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.report.formatting import counted
from ...runtime.quality.comparison import Judged
from ...runtime.rounded_inputs import measurable
from ...runtime.rows import in_graph_order
from ...runtime.subsets import evenly
from ..budgets.budget import Budget, BudgetUnreachable
from ..budgets.search import BudgetSearch
from ..sensitivity.measure import WeightDivergence
from .quantizer import Quantizer
from .time_saved import TimeSaved

TRIALS = 8
MEASURED = 32
"""Samples that D is measured on."""
LEAST_TIME = 1e-4
"""That a layer is taken to save, in the units of `TimeSaved`."""
LEAST_LEFT = 1e-4
"""Of the D_l that a failing k leaves: where none is left, the geometric mean is taken with so much."""


@dataclass(frozen=True)
class Outcome:
    """What a search has found.

    Attributes:
        divergences: D_l of the layers that may stay in float.
        saved: t_l of these.
        in_float: the layers that stay.
        judged: the network with these in float and the others in INT8.
        trials: networks that were judged.
    """

    divergences: Mapping[str, float]
    saved: TimeSaved
    in_float: Sequence[str]
    judged: Judged
    trials: int

    def note(self, search: BudgetSearch) -> str:
        """The outcome in a sentence."""
        count, trials = len(self.in_float), counted(self.trials, "trial")
        cost = self.saved.cost(self.in_float)
        layers = f"{counted(count, 'layer')} in float{cost}" if count else "every layer in INT8"
        every = "every layer stays in float that may: " if count == len(self.divergences) > 0 else ""
        return f"{every}{search.figure(self.judged.loss)} with {layers}, by {trials}, judged {search.how()}"

    def metrics(self, search: BudgetSearch) -> dict[str, float]:
        found = {"trials": float(self.trials), "in_float": float(len(self.in_float))}
        return {**found, search.rule: search.value(self.judged.loss)}

    def reasons(self, budget: Budget) -> dict[str, str]:
        """By layer."""
        return {name: f"stays in float for {budget}: {self._worth(name)}" for name in self.in_float}

    def _worth(self, name: str) -> str:
        saves = f", and saves {1000 * self.saved.ms[name]:.1f} us" if name in self.saved.ms else ""
        return f"INT8 in it alone costs {self.divergences[name]:.2g} of the outputs{saves}"


def search_precision(
    quantizer: Quantizer, layers: Sequence[gs.Node], saved: TimeSaved, search: BudgetSearch
) -> Outcome:
    """Searches; `layers` have been rounded. Those whose `noise` is set by name stay in INT8.

    `BudgetUnreachable` where the budget is not kept even with all others in float.
    """
    ctx = quantizer.ctx
    free = {node.name for node in layers if "noise" not in ctx.settings(node.name)}
    divergences = _divergences(quantizer, free)
    units = [unit for unit in quantizer.sharing() if divergences.keys() >= set(unit)]
    saved = saved.alone(units, ctx.progress)
    cost = {tuple(unit): sum(divergences[name] for name in unit) for unit in units}
    time = {unit: sum(max(saved.by_layer.get(name, 0.0), LEAST_TIME) for name in unit) for unit in cost}
    order = sorted(cost, key=lambda unit: -cost[unit] / time[unit])
    left = np.cumsum([0.0, *(cost[unit] for unit in reversed(order))])[::-1]
    tried: dict[int, Judged] = {}

    def judge(count: int) -> Judged:
        names = {name for unit in order[:count] for name in unit}
        return search.judge.judge(quantizer.written({node.name for node in layers} - names))

    with ctx.progress(f"mixed precision, at most {TRIALS} trials", TRIALS) as advance:
        count = 0
        while len(tried) < TRIALS and count < len(order) and count not in tried:
            tried[count] = judge(count)
            advance(f"{count} of {len(order)} in float")
            count = _next(tried, left, search)
    best = min((count for count, each in tried.items() if search.allows(each)), default=len(order))
    if best not in tried:
        tried[best] = judge(best)
    names = [name for unit in order[:best] for name in unit]
    if not search.allows(tried[best]):
        raise _unreachable(search, tried[best], len(names))
    return Outcome(divergences, saved, names, tried[best], len(tried))


def _unreachable(search: BudgetSearch, judged: Judged, count: int) -> BudgetUnreachable:
    found = f"{search.figure(judged.held)} with {counted(count, 'layer')} in float, judged {search.how()}"
    why = "the passes before have lost more, or --set keeps layers in INT8"
    return BudgetUnreachable(f"{search.figure(search.allowed)} cannot be reached", "budget", f"{why}: {found}")


def _next(tried: Mapping[int, Judged], left: np.ndarray, search: BudgetSearch) -> int:
    """How many to leave in float in the next trial; one that has been tried where nothing is between."""
    passed = {count: search.allows(judged) for count, judged in tried.items()}
    good = min((count for count in passed if passed[count]), default=len(left) - 1)
    bad = max((count for count in passed if not passed[count] and count < good), default=-1)
    if good - bad <= 1:
        return good
    wanted = np.sqrt(left[bad] * max(left[good], LEAST_LEFT * left[bad]))
    return min(max(int(np.argmax(left <= wanted)), bad + 1), good - 1)


def _divergences(quantizer: Quantizer, free: Set[str]) -> dict[str, float]:
    """D_l of the layers named `free`; those whose rows cannot be read off their tensors are tried in whole networks."""
    ctx, graph = quantizer.ctx, quantizer.graph
    data = ctx.judging or ctx.data
    assert data is not None
    divergence = WeightDivergence(graph, evenly(data, MEASURED), ctx.activation_bytes)
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
