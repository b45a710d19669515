"""What fewer filters save, and lose; and a network that keeps so many that it takes a given time.

Times are those of the network as a whole, which fuses more than its Convs show: the pruned network is made without its
repair, and timed, before anything is fitted. What filters save is known by their weights alone; what they lose is
measured once it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import onnx_graphsurgeon as gs

from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.base import Decision, PassResult
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..budgets.budget import Budget, unreachable
from ..budgets.file_size import network_ms
from ..fitting.samples import held_out
from ..pruning.candidates import PruningCriteria, producer_names
from ..pruning.problem import PruningProblem
from ..pruning.repair import Repair, prune
from ..pruning.sensitivity import MEASURED
from ..sensitivity.measure import SensitivityMeter
from .paths import SavingPath, drawn
from .ways import WORTH, Way, WayOptions

NAME = "filters pruned"
UNITS = ("macs", "params", "latency")
TRIES = 8


def filter_way(graph: gs.Graph, ctx: Context, data: Data | None, options: WayOptions) -> Way | None:
    """By `pruning.division`; None where even the fewest filters save next to nothing."""
    rough = _problem(graph, ctx, None, options)
    saves = rough.shares()["latency"] - rough.least("latency") if rough.candidates else 0.0
    if saves < WORTH:
        return None
    filters = Filters(graph, ctx, data, options, rough)
    return Way(NAME, saves, filters.path, filters.prune_to)


@dataclass(frozen=True, eq=False)
class Filters:
    """Of a network that stays as it is.

    Attributes:
        data: that plans are fitted to.
        rough: filters compared by weight.
    """

    graph: gs.Graph
    ctx: Context
    data: Data | None
    options: WayOptions
    rough: PruningProblem

    @cached_property
    def problem(self) -> PruningProblem:
        """Filters compared by what they lose."""
        return self.rough if self.data is None else _problem(self.graph, self.ctx, self.data, self.options)

    def path(self) -> SavingPath:
        problem = self.problem
        before = _share(problem, [0] * len(problem.candidates), self.options)
        by_convs = problem.shares()["latency"]

        def at(share: float) -> tuple[float, float]:
            gone = problem.divide("loss", Budget({"latency": share}))
            lost = sum(float(each.losses[count]) for each, count in zip(problem.candidates, gone, strict=True))
            return by_convs - (before - _share(problem, gone, self.options)), lost

        return drawn(by_convs, problem.least("latency"), at)

    def prune_to(self, graph: gs.Graph, ctx: Context, share: float) -> PassResult:
        """In place, fitted to `ctx.data`; `BudgetUnreachable` where too few filters can go."""
        whole = ctx.data is self.data and _names(graph) == _names(self.graph)
        problem = self.problem if whole else _problem(graph, ctx, ctx.data, self.options)
        gone = _division(problem, share, self.options)
        kept = problem.kept(problem.move(gone))
        stayed, repaired = prune(graph, ctx, problem.shapes, kept, Repair("refit", self.options.ridge), ctx.data)
        removed = sum(gone) / max(1, sum(each.group.size for each in problem.candidates))
        decisions = [*problem.skipped, *repaired, *_decisions(problem, gone, stayed)]
        return PassResult(True, decisions, {"units_removed": removed})


def _names(graph: gs.Graph) -> list[str]:
    """By which a copy is told from a network without some of its blocks."""
    return [node.name for node in graph.nodes]


def _problem(graph: gs.Graph, ctx: Context, data: Data | None, options: WayOptions) -> PruningProblem:
    """Without data filters are compared by weight, which is enough to know what they save."""
    measure = "output" if data is not None and held_out(data, 1) else "energy"
    meter = None if data is None else SensitivityMeter(measure, None, MEASURED)
    criteria = PruningCriteria(None, options.multiple, 1, options.ridge, data, meter)
    return PruningProblem.of(graph, ctx, criteria, UNITS, options.latency_model)


def _division(problem: PruningProblem, share: float, options: WayOptions) -> list[int]:
    """Units gone per candidate, so that the network as a whole keeps the share."""
    limit, least = share, 1.0
    for _ in range(TRIES):
        gone = problem.divide("loss", Budget({"latency": limit}))
        taken = _share(problem, gone, options)
        if taken <= share:
            return gone
        limit, least = limit - (taken - share), min(least, taken)
    raise unreachable(Budget({"latency": share}), "network found", {"latency": least})


def _share(problem: PruningProblem, gone: Sequence[int], options: WayOptions) -> float:
    """Of the original's time, once so many units are gone."""
    graph, ctx = copy_graph(problem.graph), replace(problem.ctx, state=problem.ctx.state.copy())
    prune(graph, ctx, problem.shapes, problem.kept(gone), Repair("none", options.ridge), None)
    return network_ms(options.latency_model)(graph, ctx) / problem.costs.original["latency"]


def _decisions(problem: PruningProblem, gone: Sequence[int], stayed: dict[str, int]) -> list[Decision]:
    found: list[Decision] = []
    for each, count, saved in zip(problem.candidates, gone, problem.saved(gone, "latency"), strict=True):
        size, left = each.group.size, stayed.get(each.name, each.group.size)
        if left == size:
            continue
        figures: dict[str, float | int | str] = {"units": size, "units_kept": left, "lost": float(each.losses[count])}
        names = producer_names(each.group)
        first, others = Decision(names[0], "rewritten", f"keeps {left} of {size} units", figures), names[1:]
        found.append(replace(first, figures={**figures, "latency_saved": saved}))
        found += [replace(first, node=name, reason=f"{first.reason}, together with {names[0]}") for name in others]
    return found
