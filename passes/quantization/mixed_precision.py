"""Which layers stay in float so that a quantized network keeps its answers, at the least cost of time.

    D_l    what INT8 in layer l alone costs at the outputs (`passes.sensitivity.measure`)
    t_l    the time that INT8 saves in it, by the target's cost model; where it has none, or shapes are not known, its
           share of the multiply-accumulates, or 1

The layers are ordered by falling D_l / t_l, as in a knapsack; the first k of them stay in float, those that share a
weight together. k is the smallest found with which the quantized network keeps the budget, judged on samples that no
range and no rounding has seen. Squared errors add up, so that the loss goes about with the root of what is left of the
D_l:

    loss(k) ~ sqrt(sum over l > k of D_l)

This places the next trial between one that fails and one that passes; after two on one side it is the geometric mean.
Codes, scales and biases of a layer do not depend on what is done to the others: a trial writes them, and fits nothing.

Sources: layers by what their quantization costs, given back until the accuracy holds, as in NNCF's accuracy control and
AIMET's automatic mixed precision; the knapsack over time as in HALP (Shen et al., NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.latency import DEVICES, PrecisionRequest, estimate
from ...compiler.costs.network_cost import conv_costs
from ...compiler.costs.unknown import UnknownShape
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.quality.comparison import Judged
from ...runtime.rounded_inputs import measurable
from ...runtime.rows import in_graph_order
from ...runtime.shapes import network_shapes
from ...runtime.subsets import Slice
from ..budgets.budget import Budget
from ..budgets.search import BudgetSearch
from ..sensitivity.measure import WeightDivergence
from .quantizer import Quantizer

TRIALS = 8
MEASURED = 32
"""Samples that D is measured on."""
LEAST = 1e-4


@dataclass(frozen=True)
class TimeSaved:
    """t_l by layer, in milliseconds where `timed`."""

    by_layer: Mapping[str, float]
    timed: bool

    @property
    def ms(self) -> Mapping[str, float]:
        return self.by_layer if self.timed else {}

    def cost(self, in_float: Iterable[str]) -> str:
        """What these layers cost in float, as part of a sentence; empty where it is not known."""
        more = 1000 * sum(self.ms.get(name, 0.0) for name in in_float)
        return f" (estimated to take {more:.1f} us more than in INT8)" if self.timed else ""


@dataclass(frozen=True)
class Precision:
    """What is known of a layer: D_l, and t_l, which is in milliseconds where `timed`."""

    divergence: float
    saved: float
    timed: bool

    def __str__(self) -> str:
        saves = f", and saves {1000 * self.saved:.1f} us" if self.timed else ""
        return f"INT8 in it alone costs {self.divergence:.2g} of the outputs{saves}"


@dataclass(frozen=True)
class Outcome:
    """What a search has found.

    Attributes:
        known: the layers that may stay in float, by name.
        in_float: those that do.
        judged: the network with these in float and the others in INT8; None where all stay.
        trials: networks that were judged.
    """

    known: Mapping[str, Precision]
    in_float: Sequence[str]
    judged: Judged | None
    trials: int

    def note(self, search: BudgetSearch) -> str:
        """The outcome in a sentence."""
        count, trials = len(self.in_float), f"{self.trials} trial{'s' * (self.trials > 1)}"
        if self.judged is None:
            return f"every layer stays in float: it is not met otherwise, by {trials} {search.how()}"
        layers = "every layer in INT8" if not count else f"{count} layer{'s' * (count > 1)} in float{self._cost}"
        return f"{search.figure(self.judged.loss)} with {layers}, by {trials}, judged {search.how()}"

    @property
    def _cost(self) -> str:
        known = {name: self.known[name] for name in self.in_float}
        timed = all(each.timed for each in known.values())
        return TimeSaved({name: each.saved for name, each in known.items()}, timed).cost(known)

    def metrics(self, search: BudgetSearch) -> dict[str, float]:
        found = {"trials": float(self.trials), "in_float": float(len(self.in_float))}
        return found if self.judged is None else {**found, search.rule: search.value(self.judged.loss)}

    def reasons(self, budget: Budget) -> dict[str, str]:
        """By layer."""
        return {name: f"stays in float for {budget}: {self.known[name]}" for name in self.in_float}


def search_precision(
    quantizer: Quantizer,
    accepted: Sequence[gs.Node],
    free: Sequence[str],
    saved: TimeSaved,
    search: BudgetSearch,
    ctx: Context,
) -> Outcome:
    """Searches; the accepted layers have been rounded.

    Args:
        free: the names of those that may stay in float.
        saved: see `time_saved`.
    """
    assert ctx.data is not None
    known = _measured(quantizer, free, saved, ctx.judging or ctx.data, ctx)
    units = [[name for name in unit if name in known] for unit in quantizer.sharing()]
    value = {tuple(unit): _worth([known[name] for name in unit]) for unit in units if unit}
    order = sorted(value, key=lambda unit: -value[unit])
    left = np.cumsum([0.0, *(sum(known[name].divergence for name in unit) for unit in reversed(order))])[::-1]
    tried: dict[int, Judged] = {}

    def judge(count: int) -> Judged:
        names = {name for unit in order[:count] for name in unit}
        chosen = {node.name for node in accepted} - names
        trial = copy_graph(quantizer.graph)
        quantizer.write(Rewriter(trial, {}), lambda node: node.name in chosen, [])
        return search.judge.judge(trial)

    with ctx.progress(f"mixed precision, at most {TRIALS} trials", TRIALS) as advance:
        count = 0
        while len(tried) < TRIALS and count < len(order) and count not in tried:
            tried[count] = judge(count)
            advance(f"{count} of {len(order)} in float")
            count = _next(tried, left, search)
    best = min((count for count, each in tried.items() if search.within(each)), default=len(order))
    names = [name for unit in order[:best] for name in unit]
    return Outcome(known, names, tried.get(best), len(tried))


def _next(tried: Mapping[int, Judged], left: np.ndarray, search: BudgetSearch) -> int:
    """How many to leave in float in the next trial; one that has been tried where nothing is between."""
    passed = {count: search.within(judged) for count, judged in tried.items()}
    good = min((count for count in passed if passed[count]), default=len(left) - 1)
    bad = max((count for count in passed if not passed[count] and count < good), default=-1)
    if good - bad <= 1:
        return good
    share = search.sought / max(tried[bad].loss, LEAST)
    wanted = left[bad] * share**2
    if len(set(list(passed.values())[-2:])) < len(passed):
        wanted = np.sqrt(left[bad] * max(left[good], LEAST * left[bad]))
    return min(max(int(np.argmax(left <= wanted)), bad + 1), good - 1)


def _worth(layers: Sequence[Precision]) -> float:
    """What leaving layers in float together gives per time."""
    return sum(each.divergence for each in layers) / sum(max(each.saved, LEAST) for each in layers)


def _measured(
    quantizer: Quantizer, free: Sequence[str], saved: TimeSaved, data: Data, ctx: Context
) -> dict[str, Precision]:
    """By name, of the layers whose rounding can be tried alone."""
    divergence = WeightDivergence(quantizer.graph, Slice(data, 0, min(MEASURED, data.samples)), ctx.activation_bytes)
    layers = in_graph_order(quantizer.graph, measurable(quantizer.graph, lambda node: node.name in free))
    found: dict[str, Precision] = {}
    with ctx.progress("sensitivity to INT8", len(layers)) as advance:
        for layer in layers:
            (lost,) = divergence.divergences(layer, [quantizer.rounded(layer)], quantizer.grid(layer.input))
            found[layer.name] = Precision(lost, saved.by_layer.get(layer.name, 0.0), saved.timed)
            advance()
    return found


def time_saved(quantizer: Quantizer, ctx: Context) -> TimeSaved:
    """Of all rounded layers."""
    graph = quantizer.graph
    shapes = network_shapes(graph, ctx)
    names = {name for unit in quantizer.sharing() for name in unit}
    if ctx.target.device in DEVICES:
        trial = copy_graph(graph)
        quantizer.write(Rewriter(trial, {}), lambda node: node.name in names, [])
        try:
            before, after = _times(graph, ctx, "fp16"), _times(trial, ctx, "auto")
            saved = {name: max(before.get(name, 0.0) - after.get(name, 0.0), 0.0) for name in names}
            return TimeSaved(saved, timed=True)
        except UnknownShape:
            pass
    macs = {name: float(cost.macs or 0) for name, cost in conv_costs(graph, shapes)}
    total = sum(macs.values()) or 1.0
    return TimeSaved({name: macs.get(name, 0.0) / total for name in names}, timed=False)


def _times(graph: gs.Graph, ctx: Context, precision: PrecisionRequest) -> dict[str, float]:
    found = estimate(graph, network_shapes(graph, ctx), ctx.target, ctx.options.power_mode, precision)
    return {name: kernel.ms for kernel in found.kernels for name in kernel.nodes}
