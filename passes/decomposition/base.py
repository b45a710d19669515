"""The pass behind every decomposition: options, and the order of its steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import lcm
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ...compiler.costs.cost_model import device_latency_model
from ...compiler.costs.workload import LatencyModel
from ...compiler.errors import CompressError
from ...compiler.graph.convs import Conv
from ...compiler.pipeline.base import Decision, Pass, PassResult, option
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import ROWS
from ...runtime.measured_latency import MULTIPLE, MeasuredLatencyModel
from ..budgets.allocate import Choice
from ..budgets.budget import DEFAULT_AGREEMENT, DEFAULT_ENERGY, LIMITS, SEARCHED, Budget, choose, slack_notes
from ..budgets.search import BudgetSearch, search_smallest
from ..sensitivity.measure import Weigher
from .forms import Form
from .refit import Plan, write
from .survey import Request, Survey, survey

UNTOUCHED = "left as it is: the budget cannot be reached"


@dataclass(frozen=True)
class DecompositionPass(Pass):
    """Options that all decompositions have.

    Budgets refer to the model that entered the pipeline. macs, params, bytes and latency may be given together.
    """

    per_node: ClassVar[frozenset[str]] = frozenset(("rank", "energy", "skip"))

    macs: float | None = option(None, "keep at most this fraction of the multiply-accumulates")
    params: float | None = option(None, "keep at most this fraction of the Conv parameters")
    bytes: float | None = option(
        None, "the model's file, as it leaves this pass, has at most this fraction of its bytes"
    )
    latency: float | None = option(None, "at most this fraction of the time, as clock says")
    energy: float | None = option(None, "keep this fraction of every Conv's output energy (weight energy without data)")
    rank: int | float | None = option(None, "the same size for every Conv: a count, or a fraction of the full size")
    agreement: float | None = option(None, "as small as top-1 agreement with the original on held-out samples allows")
    accuracy_drop: float | None = option(None, "as small as this loss of top-1, in points, on held-out labels allows")
    align: int | Literal["target"] = option(1, "sizes are multiples of this; target: the engine's channel multiple")
    refit: Literal["lockstep", "none"] = option(
        "lockstep", "fit on the inputs of the compressed network, or the original's"
    )
    precision: Literal["fp16", "int8", "fp32"] = option("fp16", "what latencies are estimated in")
    power: str = option("MAXN", "the power mode that latencies are estimated in")
    clock: Literal["model", "measured"] = option(
        "model", "latencies by the target's cost model, or measured with onnxruntime on this machine"
    )
    batch: int = option(1, "samples at once where latencies are measured")
    threads: int = option(1, "threads of onnxruntime where latencies are measured")
    sensitivity: Literal["energy", "output"] = option(
        "energy", "what a Conv's lost energy counts: as much as another's, or what it does to the outputs (measured)"
    )
    sensitivity_file: str | None = option(None, "read sensitivities from this file, or write what is measured to it")
    ridge: float = option(1e-3, "pull towards the stored weight, relative to the mean input energy")

    def __post_init__(self) -> None:
        self._given()
        if self.align != "target" and self.align < 1:
            raise ValueError(f"align={self.align}: expected a positive integer or target")
        if min(self.batch, self.threads) < 1:
            raise ValueError(f"batch={self.batch}:threads={self.threads}: expected positive integers")
        if self.ridge <= 0:
            raise ValueError(f"ridge={self.ridge}: expected a positive number")

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
        budget = self._budget(ctx, result.notes)
        search = BudgetSearch.of(budget, ctx) if budget.rule in SEARCHED else None
        data = ctx.data if search is None else search.fitting
        found = self._survey(graph, ctx, self._request(ctx, budget, data))
        if not found.candidates:
            return PassResult(decisions=found.skipped, notes=[*result.notes, "no Conv can be rewritten"])
        if search is not None:
            budget = self._searched(graph, ctx, found, search, result)
        result.traces.curves += [curve for candidate in found.candidates for curve in candidate.curves()]
        if budget.limits or budget.rule:
            self._rewrite(graph, ctx, found, budget, result)
        else:
            result.decisions = [Decision(candidate.conv.name, "kept", UNTOUCHED) for candidate in found.candidates]
        result.changed = any(decision.action not in ("skipped", "kept") for decision in result.decisions)
        result.decisions += found.skipped
        return result

    def surveyed(self, graph: gs.Graph, ctx: Context) -> Survey:
        """What `run` would choose from."""
        return self._survey(graph, ctx, self._request(ctx, self._budget(ctx, []), ctx.data))

    def rewritten(self, graph: gs.Graph, ctx: Context, found: Survey) -> PassResult:
        """`run` with limits on a graph that has been surveyed, perhaps under another value of the same limit."""
        result = PassResult(changed=True)
        self._rewrite(graph, ctx, found, self._budget(ctx, result.notes), result)
        return result

    def choose(self, budget: Budget, found: Survey) -> list[Choice]:
        """A choice per candidate: those that lose least within the budget."""
        return choose(budget, found.candidates, found.fixed(), found.original)

    def latency_model(self, ctx: Context) -> LatencyModel | None:
        """What a Conv takes on the target, or here; None where that is not known."""
        if self.clock == "measured":
            return MeasuredLatencyModel(self.batch, self.threads)
        return device_latency_model(ctx.target, self.precision, self.power)

    def _given(self) -> Budget | None:
        names = (*LIMITS, "energy", "rank", *SEARCHED)
        return Budget.of(**{name: getattr(self, name) for name in names})

    def _budget(self, ctx: Context, notes: list[str]) -> Budget:
        given = self._given()
        if given is not None:
            return given
        if ctx.data is not None:
            return Budget(rule="agreement", value=DEFAULT_AGREEMENT)
        notes.append(f"without data and without a budget, {DEFAULT_ENERGY:.0%} of every weight's energy is kept")
        return Budget(rule="energy", value=DEFAULT_ENERGY)

    def _request(self, ctx: Context, budget: Budget, data: Data | None) -> Request:
        latency_model = self.latency_model(ctx)
        if latency_model is None and "latency" in budget.limits:
            fix = "choose a target that has one, or a budget such as macs=0.5"
            raise CompressError(f"target '{ctx.target.name}' has no cost model", "latency", fix)
        align = ctx.target.int8_multiple if self.align == "target" else self.align
        align = lcm(align, MULTIPLE) if self.clock == "measured" else align
        return Request(self.check, self.forms(), budget.units, align, self.ridge, latency_model, data)

    def _survey(self, graph: gs.Graph, ctx: Context, request: Request) -> Survey:
        asked = ctx.options.sensitivity_file is not None and self.sensitivity_file is None
        measure = "output" if asked else self.sensitivity
        weigher = Weigher(measure, self.sensitivity_file or ctx.options.sensitivity_file, ctx.activation_bytes)
        options = {
            "pass": self.name,
            "forms": [form.name for form in request.forms],
            "options": [request.align, request.ridge, list(request.units)],
            "scope": ctx.scope(),
        }
        weigher.prepare(graph, request.data, request.forms, options)
        found = survey(graph, ctx, replace(request, watch=weigher.watch))
        weighed = weigher.weigh(found.candidates)
        return replace(found, candidates=[each.narrowed(**ctx.settings(each.conv.name)) for each in weighed])

    def _searched(
        self, graph: gs.Graph, ctx: Context, found: Survey, search: BudgetSearch, result: PassResult
    ) -> Budget:
        """The limit found; an empty budget where nothing passes."""
        free = replace(ctx, held=frozenset())

        def attempt(trial: gs.Graph, macs: float, data: Data) -> None:
            chosen = self.choose(Budget({"macs": macs}), found)
            write(trial, free, replace(self._plan(found, chosen), rows=ROWS // 2), data)

        outcome = search_smallest(graph, ctx, search, attempt)
        result.notes.append(outcome.note())
        result.metrics.update(outcome.metrics())
        result.traces.searches.append(outcome.trace())
        return Budget() if outcome.best is None else Budget({"macs": outcome.best.macs})

    def _rewrite(self, graph: gs.Graph, ctx: Context, found: Survey, budget: Budget, result: PassResult) -> None:
        chosen = self.choose(budget, found)
        result.decisions = write(graph, ctx, self._plan(found, chosen), ctx.data)
        kept = found.kept(chosen)
        result.metrics.update({f"{unit}_kept": share for unit, share in kept.items()})
        result.notes += [*slack_notes(budget, kept), *_slower(found, chosen)]

    def _plan(self, found: Survey, chosen: Sequence[Choice]) -> Plan:
        candidates = {candidate.conv.name: candidate for candidate in found.candidates}
        choices = dict(zip(candidates, chosen, strict=True))
        forms = {form.name: form for form in self.forms()}
        return Plan(choices, candidates, forms, self.refit == "lockstep", self.ridge, keep=self.rows_kept())


def _slower(found: Survey, chosen: Sequence[Choice]) -> list[str]:
    """A note where Convs save MACs but no time."""
    pairs = [(candidate.dense.costs, choice.costs) for candidate, choice in zip(found.candidates, chosen, strict=True)]
    slower = sum(after["latency"] > before["latency"] for before, after in pairs if "latency" in before)
    advice = "latency= leaves them dense"
    return [f"{slower} of the rewritten Convs save MACs but no time on the target; {advice}"] if slower else []
