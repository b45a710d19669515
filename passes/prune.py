"""Whole filters removed, and everything that follows from it.

Channels that live or die together are a group (`compiler.graph.channels`): the filters that make them, the biases and
scales beside them, and the weights that read them go at once. The pruned network is smaller for every engine; without
repair it computes exactly what the network computes whose weights for those channels are zero.

Which units go (`criterion`):

    moments   what the layers that read the unit lose of their outputs, the best re-fit on the remaining inputs assumed:
              backward elimination in the metric of the inputs (see `projection.elimination`), by loss per MAC saved
    gaussian  PFGDF, Xu et al.: filters that are insignificant in the distribution of the layer's norms, which is
              taken for a Gaussian; `reading` says which part that is (see `projection.significance`)
    l1, l2    the smallest filters;      fpgm  those nearest to the geometric median

`moments` is the default because it loses less: ResNet-20, 70 % of the MACs, 1,024 images, top-1 (original 91.73), every
layer's loss counted alike (`sensitivity=energy`; what the default, `output`, adds: see `pruning.sensitivity`)

    criterion        moments   gaussian (tails, centre, low)    l1     l2     fpgm
    repair=none         47.3          20.6   22.4   32.4       24.6   17.3   16.8
    repair=refit        88.6          86.3   86.5   86.6       86.3   86.2   87.2

How many of each group go (`division`): see `pruning.division`. What makes up for them (`repair`): see `pruning.repair`.
In a residual block the last Conv is fitted to the block's sum, so that it makes up for what the shortcut lost.

`auto` is the automated loop of PFGDF with repair in the place of its fine-tuning: the intervals of all groups are
widened or narrowed together until the agreement on held-out samples is at its bound, then one by one (`pruning.loop`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ..compiler.costs.cost_model import device_latency_model
from ..compiler.errors import CompressError
from ..compiler.pipeline.base import Decision, Pass, PassResult, option
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.registry import register
from ..runtime.lockstep import ROWS
from .budgets.budget import DEFAULT_AGREEMENT, LIMITS, SEARCHED, Budget, slack_notes
from .budgets.search import BudgetSearch
from .decomposition.survey import held_out
from .projection.significance import CRITERIA, READINGS
from .pruning.candidates import PruningCandidate, PruningCriteria, Score, makers
from .pruning.loop import found_by
from .pruning.problem import PruningProblem
from .pruning.repair import Repair, prune
from .sensitivity.measure import Weigher

ENERGY = 0.99
DIVISIONS = {"moments": "loss", "gaussian": "interval"}
UNTOUCHED = "left as it is: the budget cannot be reached"
WHOLE = "all units stay: the budget is better spent on other layers"


@register
@dataclass(frozen=True)
class Prune(Pass):
    """Remove whole filters, and re-fit the layers that read them.

    Left alone, with the reason in the report: layers whose channels something else depends on (outputs of the model,
    operators that mix channels), and those out of --include / --exclude. Budgets refer to the model that entered the
    pipeline; macs, params, bytes and latency may be given together. With align, the units of a group come in
    multiples; a layer that makes only a part of them (option-A shortcuts) may have another number of filters.
    """

    name: ClassVar[str] = "prune"
    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))
    macs: float | None = option(None, "keep at most this fraction of the multiply-accumulates")
    params: float | None = option(None, "keep at most this fraction of the Conv parameters")
    bytes: float | None = option(None, "the model's file has at most this fraction of its bytes")
    latency: float | None = option(None, "at most this fraction of the time, says the target's cost model")
    energy: float | None = option(None, "each group's readers keep this fraction of their output energy")
    share: float | None = option(None, "remove this share of the units of every group")
    agreement: float | None = option(None, "as small as top-1 agreement with the original on held-out samples allows")
    accuracy_drop: float | None = option(None, "as small as this loss of top-1, in points, on held-out labels allows")
    auto: bool = option(
        False, "each group on its own as far as agreement= or accuracy-drop= allows (in up to 38 trials)"
    )
    criterion: Literal["moments", "gaussian", "l1", "l2", "fpgm"] = option("moments", "which units go first")
    reading: Literal["tails", "centre", "low"] = option("centre", "of gaussian: the part of the distribution that goes")
    division: Literal["auto", "loss", "share", "interval", "even"] = option(
        "auto",
        "least loss, or for all one share, interval or (even) loss; auto: loss (moments), interval (gaussian), share",
    )
    sensitivity: Literal["auto", "energy", "output"] = option(
        "auto",
        "what a layer's loss counts: as much as another's, or what it does to the outputs (measured); "
        "auto: output where there is data and least loss decides",
    )
    sensitivity_file: str | None = option(None, "read sensitivities from this file, or write what is measured to it")
    repair: Literal["refit", "bias", "none"] = option("refit", "what is fitted to the pruned network's inputs")
    align: int | Literal["target"] = option(1, "units are kept in multiples of this; target: the engine's multiple")
    minimum: int = option(1, "keep at least so many units of a group")
    precision: Literal["fp16", "int8", "fp32"] = option("fp16", "what latencies are estimated in")
    power: str = option("MAXN", "the power mode that latencies are estimated in")
    ridge: float = option(1e-3, "pull towards the stored weight, relative to the mean input energy")

    def __post_init__(self) -> None:
        given = self._given()
        if self.align != "target" and self.align < 1:
            raise ValueError(f"align={self.align}: expected a positive integer or target")
        if self.minimum < 1:
            raise ValueError(f"minimum={self.minimum}: expected a positive integer")
        if self.ridge <= 0:
            raise ValueError(f"ridge={self.ridge}: expected a positive number")
        if self.auto and given is not None and given.rule not in SEARCHED:
            raise ValueError(f"auto and {given} are given: expected agreement= or accuracy-drop=")

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        result = PassResult()
        budget = self._budget(ctx, result.notes)
        search = BudgetSearch.of(budget, ctx) if budget.rule in SEARCHED else None
        problem = self._problem(graph, ctx, budget, ctx.data if search is None else search.fitting)
        if not problem.candidates:
            return PassResult(decisions=problem.skipped, notes=[*result.notes, "no group of channels can be pruned"])
        gone = self._units(problem, budget, search, result)
        if gone is not None:
            self._rewrite(problem, gone, result)
            result.notes += slack_notes(budget, problem.shares())
        else:
            result.decisions = [
                Decision(name, "kept", UNTOUCHED) for each in problem.candidates for name in makers(each.group)
            ]
        result.decisions = _once([*problem.skipped, *result.decisions])
        return result

    def _given(self) -> Budget | None:
        return Budget.of(**{name: getattr(self, name) for name in (*LIMITS, "energy", "share", *SEARCHED)})

    def _budget(self, ctx: Context, notes: list[str]) -> Budget:
        given = self._given()
        if given is not None:
            return given
        if ctx.data is not None or self.auto:
            return Budget(rule="agreement", value=DEFAULT_AGREEMENT)
        notes.append(f"without data and without a budget, every layer keeps {ENERGY:.0%} of its weights' energy")
        return Budget(rule="energy", value=ENERGY)

    def _problem(self, graph: gs.Graph, ctx: Context, budget: Budget, data: Data | None) -> PruningProblem:
        latency_model = device_latency_model(ctx.target, self.precision, self.power)
        if latency_model is None and "latency" in budget.limits:
            fix = "choose a target that has one, or a budget such as macs=0.5"
            raise CompressError(f"target '{ctx.target.name}' has no cost model", "latency", fix)
        align = ctx.target.int8_multiple if self.align == "target" else self.align
        request = PruningCriteria(
            self._score(), align, self.minimum, self.ridge, data, self._weigher(ctx, budget, data)
        )
        units = tuple(dict.fromkeys(["macs", "params", *budget.limits]))
        return PruningProblem.of(graph, ctx, request, units, latency_model)

    def _weigher(self, ctx: Context, budget: Budget, data: Data | None) -> Weigher:
        file = self.sensitivity_file or ctx.options.sensitivity_file
        measure = self.sensitivity
        if measure == "auto":
            divided = bool(budget.limits) or budget.rule in SEARCHED
            useful = divided and self._division() in ("loss", "even") and data is not None and held_out(data, 1)
            measure = "output" if useful else "energy"
        return Weigher("energy" if measure == "energy" and file is None else "output", file, ctx.activation_bytes)

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
            return problem.divide(self._division(), budget)
        repair = Repair(self.repair, self.ridge, ROWS // 2)
        free = replace(problem, ctx=replace(problem.ctx, held=frozenset()))
        gone, outcome = found_by(free, search, self._division(), repair, self.auto)
        result.notes.append(outcome.note())
        result.metrics.update(outcome.metrics())
        result.traces.searches.append(outcome.trace())
        return gone

    def _rewrite(self, problem: PruningProblem, gone: list[int], result: PassResult) -> None:
        kept, repair = problem.kept(problem.move(gone)), Repair(self.repair, self.ridge)
        stayed, repaired = prune(problem.graph, problem.ctx, problem.shapes, kept, repair, problem.ctx.data)
        decisions = {decision.node: decision for decision in repaired}
        for candidate, count in zip(problem.candidates, gone, strict=True):
            for name in makers(candidate.group):
                decisions[name] = _decision(
                    candidate, count, stayed.get(candidate.name, candidate.group.size), name, decisions.get(name)
                )
        result.decisions = list(decisions.values())
        result.changed = any(decision.action != "kept" for decision in result.decisions)
        result.metrics.update({f"{unit}_kept": share for unit, share in problem.shares().items()})
        result.metrics["units_removed"] = sum(gone) / max(1, sum(each.group.size for each in problem.candidates))


def _decision(candidate: PruningCandidate, gone: int, stayed: int, name: str, repaired: Decision | None) -> Decision:
    size = candidate.group.size
    figures: dict[str, float | int | str] = {"units": size, "units_kept": stayed}
    figures |= {"lost": float(candidate.losses[gone]), **(repaired.figures if repaired else {})}
    if stayed == size:
        return Decision(name, "refitted" if repaired else "kept", WHOLE, figures)
    shared = "" if name == candidate.name else f", together with {candidate.name}"
    return Decision(name, "rewritten", f"keeps {stayed} of {size} units{shared}", figures)


def _once(decisions: Sequence[Decision]) -> list[Decision]:
    """The last decision on each node."""
    return list({decision.node: decision for decision in decisions}.values())
