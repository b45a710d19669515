"""The pass behind every decomposition: options, and the order of its steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.graph.convs import Conv
from ...compiler.pipeline.base import Decision, PassResult, WeightForm, option
from ...compiler.pipeline.context import Context, Snapshot
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.ending import ending_precision
from ...runtime.lockstep import ROWS
from ..budgets.allocate import Choice
from ..budgets.budget import Budget, slack_notes
from ..budgets.budgeted_pass import UNTOUCHED, SizingPass
from ..budgets.clock import MEASURED, MODEL, has
from ..budgets.costs import Costs
from ..budgets.file_size import rewrite_within
from ..budgets.search import BudgetSearch, search_smallest, worth
from ..fitting.lockstep import FitOptions
from ..sensitivity.measure import SensitivityMeter
from .candidates import RewriteCandidate, choose
from .forms import Form
from .rewrite import rewrite
from .survey import Survey, SurveyOptions, offers, survey

ONLY_FASTER = "no budget: Convs are rewritten only where that saves time on the target; macs= saves MACs all the same"
UNTIMED = "no budget, and no times of the target are known: fewer MACs are taken for less time"


@dataclass(frozen=True)
class DecompositionPass(SizingPass):
    """What all decompositions share: options, and `run`, which surveys, chooses and rewrites.

    Budgets refer to the model that entered the pipeline. macs, params, bytes and latency may be given together.
    """

    per_node: ClassVar[frozenset[str]] = frozenset(("rank", "energy", "skip"))
    rules: ClassVar[tuple[str, ...]] = ("energy", "rank")

    energy: float | None = option(
        None, "keep this fraction of every Conv's output energy (weight energy without data)", "(0, 1]"
    )
    rank: int | float | None = option(
        None, "the same size for every Conv: a count, or a fraction of the full size", "(0, inf)"
    )
    refit: Literal["lockstep", "none"] = option(
        "lockstep", "fit on the inputs in the network as rewritten so far, or (none) as it was before the pass"
    )
    sensitivity: Literal["energy", "output"] = option(
        "energy", "how lost energy counts: alike in every Conv, or by what it does to the outputs (measured)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.rank, float) and self.rank > 1:
            raise ValueError(f"rank={self.rank}: expected a count, or a fraction of at most 1")

    def weight_form(self, ctx: Context) -> WeightForm:
        return "float"

    @abstractmethod
    def forms(self) -> Sequence[Form]:
        """The forms to choose from."""

    @abstractmethod
    def check(self, conv: Conv) -> str | None:
        """Why this Conv is left alone, or None."""

    def rows_kept(self) -> int:
        """How many of a layer's rows its forms get to see beside the moments."""
        return 0

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        result = PassResult()
        budget = self._asked(graph, ctx, result.notes)
        search = self._search(budget, graph, ctx)
        data = ctx.data if search is None else search.fitting
        found = self._once(graph, ctx, data, lambda each: self._survey(each, ctx, budget, data))
        if not found.candidates:
            result.notes += [] if budget.cost == "latency" else ["no Conv can be rewritten"]
            self.choose(Budget(budget.limits), found)
            result.notes += slack_notes(budget, found.kept([]), changed=False)
            return replace(result, decisions=found.skipped)
        saves = budget.cost == "latency" and all(candidate.only is None for candidate in found.candidates)
        if search is not None:
            budget = self._searched(graph, ctx, found, search, result)
        result.traces.curves += [curve for candidate in found.candidates for curve in candidate.curves()]
        before = Snapshot.of(graph, ctx)
        if budget.limits or budget.rule:
            self._rewrite(graph, ctx, found, budget, result)
        if not (budget.limits or budget.rule) or (saves and not self._is_faster(graph, before, ctx, result)):
            names = [use.name for candidate in found.candidates for use in candidate.conv.uses]
            result.decisions = [Decision(name, "kept", UNTOUCHED) for name in names]
        result.changed = any(decision.action not in ("skipped", "kept") for decision in result.decisions)
        result.decisions += found.skipped
        return result

    def outlook(self, graph: gs.Graph, ctx: Context) -> Mapping[str, str]:
        options = self._survey_options(ctx, self._asked(graph, ctx, []), ctx.data, None)
        offered, skipped = offers(graph, ctx, options)
        found = {decision.node: f"skipped: {decision.reason}" for decision in skipped}
        for each in offered:
            found |= dict.fromkeys([use.name for use in each.conv.uses], f"may be rewritten, {_sizes(each)}")
        return found

    def surveyed(self, graph: gs.Graph, ctx: Context) -> Survey:
        """What `run` would choose from."""
        return self._survey(graph, ctx, self._asked(graph, ctx, []), ctx.data)

    def rewritten(self, graph: gs.Graph, ctx: Context, found: Survey) -> PassResult:
        """`run` with limits on a graph that has been surveyed, perhaps under another value of the same limit."""
        result = PassResult(changed=True)
        self._rewrite(graph, ctx, found, self._budget(graph, ctx, result.notes), result)
        return result

    def choose(self, budget: Budget, found: Survey) -> list[Choice]:
        """A choice per candidate: those that lose least within the budget."""
        return choose(budget, found.candidates, found.costs)

    def _budget(self, graph: gs.Graph, ctx: Context, notes: list[str]) -> Budget:
        """The default saves time, where it is known."""
        budget = super()._budget(graph, ctx, notes)
        if self._given() is not None or not budget.rule:
            return budget
        cost = self._objective(ctx)
        notes += [ONLY_FASTER] if cost == "latency" else [UNTIMED] if self.latency_model(ctx) is None else []
        return replace(budget, cost=cost)

    def _survey(self, graph: gs.Graph, ctx: Context, budget: Budget, data: Data | None) -> Survey:
        meter = self._meter(ctx)
        options = self._survey_options(ctx, budget, data, meter)
        names = [form.name for form in options.forms]
        asked = [options.align, self.ridge, list(budget.units)]
        meter.prepare(graph, ctx, data, {"pass": self.name, "forms": names, "options": asked})
        found = survey(graph, ctx, options)
        candidates = [each.narrowed(**_settings(each.conv, ctx)) for each in found.candidates]
        return replace(found, candidates=candidates)

    def _survey_options(
        self, ctx: Context, budget: Budget, data: Data | None, meter: SensitivityMeter | None
    ) -> SurveyOptions:
        return SurveyOptions(
            check=self.check,
            forms=self.forms(),
            units=budget.units,
            align=self._multiple(ctx),
            ridge=self.ridge,
            latency_model=self._pricing(ctx, budget),
            data=data,
            meter=meter,
            others=self._others(ctx, budget),
            worth=worth(budget),
        )

    def _others(self, ctx: Context, budget: Budget) -> list[LatencyModel]:
        """By which a rewrite has to be faster, too, where no budget is given: with data INT8 may come later."""
        given = self._given() is not None or ctx.data is None or self.clock == MEASURED
        if given or budget.cost != "latency" or ending_precision(ctx) == "int8":
            return []
        model = self._on_device(ctx, "int8", self.clock if has(self.clock, "int8") else MODEL)
        return [] if model is None else [model]

    def _meter(self, ctx: Context) -> SensitivityMeter:
        """The run's table is measured where it is not there; the pass's own only with sensitivity=output."""
        file = self._sensitivity_file(ctx)
        return SensitivityMeter("output" if file != self.sensitivity_file else self.sensitivity, file)

    def _searched(
        self, graph: gs.Graph, ctx: Context, found: Survey, search: BudgetSearch, result: PassResult
    ) -> Budget:
        """The limit found; an empty budget where nothing passes."""
        free = replace(ctx, held=frozenset())

        def attempt(trial: gs.Graph, share: float, data: Data | None) -> float:
            chosen = self.choose(Budget({search.cost: share}), found)
            self._write(trial, free, found, chosen, data, search.rows(ROWS))
            return found.kept(chosen)["macs"]

        least = found.least(search.cost) if search.cost == "latency" else 0.0
        outcome = search_smallest(graph, ctx, search, attempt, least)
        self._record(outcome, result)
        return Budget() if outcome.best is None else Budget({search.cost: outcome.best.share})

    def _rewrite(self, graph: gs.Graph, ctx: Context, found: Survey, budget: Budget, result: PassResult) -> None:
        chosen: list[Choice] = []

        def attempt(limits: Budget) -> Costs:
            chosen[:] = self.choose(limits, found)
            result.decisions = self._write(graph, ctx, found, chosen, ctx.data, ROWS)
            return found.kept(chosen)

        kept = rewrite_within(graph, ctx, budget, found.original, attempt, self._weighing(ctx))
        result.metrics.update({f"{unit}_kept": share for unit, share in kept.items()})
        changed = any(choice.size for choice in chosen)
        result.notes += [*slack_notes(budget, kept, changed), *_slower(found, chosen)]

    def _write(
        self, graph: gs.Graph, ctx: Context, found: Survey, chosen: Sequence[Choice], data: Data | None, rows: int
    ) -> list[Decision]:
        named = {each.conv.name: (each, choice) for each, choice in zip(found.candidates, chosen, strict=True)}
        return rewrite(
            graph, ctx, named, FitOptions(self.ridge, self.refit == "lockstep", rows, self.rows_kept()), data
        )


def _sizes(candidate: RewriteCandidate) -> str:
    sizes = [choice.size for choice in candidate.choices[1:]]
    return f"{len(sizes)} sizes from {min(sizes)} to {max(sizes)}"


def _settings(conv: Conv, ctx: Context) -> dict[str, Any]:
    """What is set for the uses of a Conv; where they disagree, for the last of them."""
    return {option: value for use in conv.uses for option, value in ctx.settings(use.name).items()}


def _slower(found: Survey, chosen: Sequence[Choice]) -> list[str]:
    """A note where Convs save MACs but no time."""
    pairs = [(candidate.dense.costs, choice.costs) for candidate, choice in zip(found.candidates, chosen, strict=True)]
    slower = sum(after["latency"] > before["latency"] for before, after in pairs if "latency" in before)
    advice = "latency= leaves them dense"
    return [f"{slower} of the rewritten Convs save MACs but no time on the target; {advice}"] if slower else []
