"""Whole filters removed, and everything that follows from it.

Channels that live or die together are a group (`compiler.graph.channels`): the filters that make them, the biases and
scales beside them, and the weights that read them go at once. The pruned network is smaller for every engine; without
repair it computes exactly what the network computes whose weights for those channels are zero.

Which units go (`criterion`):

    moments   what the layers that read the unit lose of their outputs, the best re-fit on the remaining inputs assumed:
              backward elimination in the metric of the inputs (see `projection.elimination`), by loss per MAC saved
    gaussian  PFGDF, Xu et al.: filters that are insignificant in the distribution of the layer's norms, which is
              taken for a Gaussian; `reading` chooses that part (see `projection.significance`)
    l1, l2    the smallest filters;      fpgm  those nearest to the geometric median

`moments` is the default because it loses less: ResNet-20, 70 % of the MACs, 1,024 images, top-1 (original 91.73), every
layer's loss counted alike (`sensitivity=energy`; what the default, `output`, adds: see `pruning.sensitivity`)

    criterion        moments   gaussian (tails, centre, low)    l1     l2     fpgm
    repair=none         47.3          20.6   22.4   32.4       24.6   17.3   16.8
    repair=refit        88.6          86.3   86.5   86.6       86.3   86.2   87.2

How many of each group go (`division`): see `pruning.division`. What makes up for them (`repair`): see `pruning.repair`.
In a residual block the last Conv is fitted to the block's sum, so that it makes up for what the shortcut lost.

Time and memory, sensitivities measured, in processor seconds on two cores that were not at their fastest (in
brackets all that prune once did: three levels of sensitivity, all samples from the start, one ridge for all layers):

    MobileNetV2, macs=0.7, 512 pictures          78 s, 1.1 GB, top-1 73.2 of 86.4     (210 s, 4.9 GB, 69.8)
    ResNet-56, macs=0.75, 1,168 images           23 s, 0.5 GB, top-1 93.35 of 93.39   (102 s, 0.8 GB, 93.29)

`auto` is the automated loop of PFGDF with repair in the place of its fine-tuning: the intervals of all groups are
widened or narrowed together until the agreement on held-out samples is at its bound, then one by one (`pruning.loop`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ..compiler.pipeline.base import Decision, PassResult, WeightForm, last_decisions, option
from ..compiler.pipeline.context import Context, Snapshot
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.registry import register
from ..compiler.report.formatting import counted
from ..runtime.lockstep import ROWS
from .budgets.budget import DEFAULT_AGREEMENT, SEARCHED, Budget, slack_notes
from .budgets.budgeted_pass import UNTOUCHED, SizingPass
from .budgets.costs import Costs
from .budgets.ended_time import ended_ms, quantizes
from .budgets.file_size import rewrite_within
from .budgets.search import BudgetSearch
from .fitting.samples import held_out
from .projection.significance import CRITERIA, READINGS
from .pruning.candidates import PruningCandidate, PruningCriteria, Score, producer_names, prunable_groups
from .pruning.loop import search_units
from .pruning.problem import PruningProblem, found_channels
from .pruning.repair import Repair, prune
from .pruning.sensitivity import MEASURED
from .sensitivity.measure import SensitivityMeter

HELD = 2**28
"""Bytes of activations that are held in RAM, by network; the rest lies in temporary files."""
DIVISIONS = {"moments": "loss", "gaussian": "interval"}
WHOLE = "all units stay: the budget is better spent on other layers"
ENDS_SLOWER = "quantized, the network would take {1:.3g} ms instead of {0:.3g}: layers stay as they are"


@register
@dataclass(frozen=True)
class Prune(SizingPass):
    """Remove whole filters, and re-fit the layers that read them.

    Left alone, with the reason in the report: layers whose channels something else depends on (outputs of the model,
    operators that mix channels), and those out of --include / --exclude. Budgets refer to the model that entered the
    pipeline; macs, params, bytes and latency may be given together. With align, the units of a group come in
    multiples; a layer that makes only a part of them (option-A shortcuts) may have another number of filters.
    """

    name: ClassVar[str] = "prune"
    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))
    rules: ClassVar[tuple[str, ...]] = ("energy", "share")

    energy: float | None = option(None, "each group's readers keep this fraction of their output energy", "(0, 1]")
    share: float | None = option(None, "remove this share of the units of every group", "(0, 1]")
    auto: bool = option(
        False, "each group on its own as far as agreement=, error= or a drop allows (in up to 38 trials)"
    )
    criterion: Literal["moments", "gaussian", "l1", "l2", "fpgm"] = option("moments", "which units go first")
    reading: Literal["tails", "centre", "low"] = option("centre", "of gaussian: the part of the distribution that goes")
    division: Literal["auto", "loss", "share", "interval", "even"] = option(
        "auto",
        "least loss, or for all one share, interval or (even) loss; auto: loss (moments), interval (gaussian), share",
    )
    sensitivity: Literal["auto", "energy", "output"] = option(
        "auto",
        "how a loss counts: alike in every layer, or by what it does to the outputs (measured); "
        "auto: output where there is data and least loss decides",
    )
    repair: Literal["refit", "bias", "none"] = option("refit", "what is fitted to the pruned network's inputs")
    align: int | Literal["target"] = option(
        1, "units are kept in multiples of this; target: the engine's multiple", "[1, 65536]"
    )
    minimum: int = option(1, "keep at least so many units of a group", "[1, 65536]")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self._given()
        if self.auto and given is not None and given.rule not in SEARCHED:
            raise ValueError(f"auto and {given} are given: expected agreement=, error=, accuracy-drop= or metric-drop=")

    def weight_form(self, ctx: Context) -> WeightForm:
        return "float" if ctx.options.data is not None and self.repair == "refit" else "kept"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        result = PassResult()
        ctx = ctx.holding(HELD)
        budget = self._asked(graph, ctx, result.notes)
        search = self._search(budget, graph, ctx)
        problem = self._problem(graph, ctx, budget, ctx.data if search is None else search.fitting)
        if not problem.candidates:
            result.notes.append("no group of channels can be pruned")
            problem.divide(self._division(), Budget(budget.limits))
            result.notes += slack_notes(budget, problem.shares(), changed=False)
            return replace(result, decisions=problem.skipped)
        gone, before = self._units(problem, budget, search, result), Snapshot.of(graph, ctx)
        if gone is not None:
            gone, shares = self._rewrite_within(problem, gone, budget, result)
            result.notes += slack_notes(budget, shares, changed=any(gone))
        saves = search is not None and search.cost == "latency"
        if gone is None or (saves and not self._is_faster(graph, before, ctx, result)):
            result.changed = False
            result.decisions = [
                Decision(name, "kept", UNTOUCHED) for each in problem.candidates for name in producer_names(each.group)
            ]
        result.decisions = last_decisions([*problem.skipped, *result.decisions])
        return result

    def outlook(self, graph: gs.Graph, ctx: Context) -> Mapping[str, str]:
        criteria = PruningCriteria(self._score(), self._multiple(ctx), self.minimum, self.ridge, None, None)
        groups, skipped = prunable_groups(found_channels(graph, ctx)[0], ctx, criteria)
        found = {decision.node: f"skipped: {decision.reason}" for decision in skipped}
        for group in groups:
            names = producer_names(group)
            shared = f", together with {counted(len(names) - 1, 'other layer')}" if len(names) > 1 else ""
            found |= dict.fromkeys(names, f"may lose some of {group.size} units{shared}")
        return found

    def _is_faster(self, graph: gs.Graph, before: Snapshot, ctx: Context, result: PassResult) -> bool:
        """Also at the end of the pipeline: see `budgets.ended_time`."""
        found = dict(result.metrics)
        if not super()._is_faster(graph, before, ctx, result):
            return False
        if self.clocked(ctx) is None or not quantizes(ctx):
            return True
        took = ended_ms(before.graph, before.state, ctx, self.latency_model)
        takes = ended_ms(graph, ctx.state, ctx, self.latency_model)
        if took is None or takes is None or takes < took:
            return True
        before.put_back(graph, ctx)
        result.metrics = {name: value for name, value in found.items() if not name.endswith("_kept")}
        result.notes.append(ENDS_SLOWER.format(took, takes))
        return False

    def _budget(self, graph: gs.Graph, ctx: Context, notes: list[str]) -> Budget:
        if self.auto and self._given() is None and ctx.data is None:
            return Budget(rule="agreement", value=DEFAULT_AGREEMENT, cost=self._objective(ctx))
        return super()._budget(graph, ctx, notes)

    def _problem(self, graph: gs.Graph, ctx: Context, budget: Budget, data: Data | None) -> PruningProblem:
        pricing, meter = self._pricing(ctx, budget), self._meter(ctx, budget, data)
        criteria = PruningCriteria(self._score(), self._multiple(ctx), self.minimum, self.ridge, data, meter)
        costs = budget.limits or (budget.cost,)
        units = tuple(dict.fromkeys(["macs", "params", *costs]))

        def measure(graph: gs.Graph) -> PruningProblem:
            return PruningProblem.of(graph, ctx, criteria, units, pricing)

        return replace(self._once(graph, ctx, data, measure), graph=graph, ctx=ctx)

    def _meter(self, ctx: Context, budget: Budget, data: Data | None) -> SensitivityMeter:
        """A table that is not there is measured, whoever names it."""
        file, measure = self._sensitivity_file(ctx), self.sensitivity
        if measure == "auto":
            divided = bool(budget.limits) or budget.rule in SEARCHED
            useful = divided and self._division() in ("loss", "even") and data is not None and held_out(data, 1)
            measure = "output" if useful else "energy"
        return SensitivityMeter("energy" if measure == "energy" and file is None else "output", file, MEASURED)

    def _score(self) -> Score | None:
        if self.criterion == "gaussian":
            return READINGS[self.reading]
        return CRITERIA.get(self.criterion)

    def _division(self) -> str:
        if self.division != "auto":
            return self.division
        return "even" if self.auto else DIVISIONS.get(self.criterion, "share")

    def _units(
        self, problem: PruningProblem, budget: Budget, search: BudgetSearch | None, result: PassResult
    ) -> list[int] | None:
        """Units gone per candidate; None where nothing passes the search."""
        if search is None:
            return problem.divide(self._division(), budget) if budget.limits or budget.rule else None
        repair = Repair(self.repair, self.ridge, search.rows(ROWS))
        free = replace(problem, ctx=replace(problem.ctx, held=frozenset()))
        gone, outcome = search_units(free, search, self._division(), repair, self.auto)
        self._record(outcome, result)
        return gone

    def _rewrite_within(
        self, problem: PruningProblem, gone: list[int], budget: Budget, result: PassResult
    ) -> tuple[list[int], Costs]:
        """Rewrite with so many units gone, or more where the file is too large; how many, and the shares left."""
        last = gone

        def attempt(limits: Budget) -> Costs:
            nonlocal last
            last = gone if limits == budget else problem.divide(self._division(), limits)
            self._rewrite(problem, last, result)
            return problem.shares()

        shares = rewrite_within(
            problem.graph, problem.ctx, budget, problem.costs.original, attempt, self._weighing(problem.ctx)
        )
        result.metrics.update({f"{unit}_kept": share for unit, share in shares.items()})
        return last, shares

    def _rewrite(self, problem: PruningProblem, gone: list[int], result: PassResult) -> None:
        kept, repair = problem.kept(problem.move(gone)), Repair(self.repair, self.ridge)
        stayed, repaired = prune(problem.graph, problem.ctx, problem.shapes, kept, repair, problem.ctx.data)
        decisions = {decision.node: decision for decision in repaired}
        for candidate, count in zip(problem.candidates, gone, strict=True):
            for name in producer_names(candidate.group):
                decisions[name] = _decision(
                    candidate, count, stayed.get(candidate.name, candidate.group.size), name, decisions.get(name)
                )
        result.decisions = list(decisions.values())
        result.changed = any(decision.action != "kept" for decision in result.decisions)
        result.metrics["units_removed"] = sum(gone) / max(1, sum(each.group.size for each in problem.candidates))


def _decision(candidate: PruningCandidate, gone: int, stayed: int, name: str, repaired: Decision | None) -> Decision:
    size = candidate.group.size
    figures: dict[str, float | int | str] = {"units": size, "units_kept": stayed}
    figures |= {"lost": float(candidate.losses[gone]), **(repaired.figures if repaired else {})}
    if stayed == size:
        return Decision(name, "refitted" if repaired else "kept", WHOLE, figures)
    shared = "" if name == candidate.name else f", together with {candidate.name}"
    return Decision(name, "rewritten", f"keeps {stayed} of {size} units{shared}", figures)
