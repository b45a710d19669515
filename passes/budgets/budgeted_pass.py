"""The pass behind every pass with a budget: the options they share, their checks and defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ...compiler.costs.cost_model import device_latency_model
from ...compiler.costs.network_cost import require_macs
from ...compiler.costs.unknown import UnknownShape
from ...compiler.costs.workload import LatencyModel
from ...compiler.errors import CompressError, Unavailable
from ...compiler.pipeline.base import Pass, PassResult, option
from ...compiler.pipeline.context import Context
from ...runtime.shapes import network_shapes
from .budget import FREE, LIMITS, SEARCHED, Budget
from .search import ENOUGH, BudgetSearch, SearchOutcome

UNTOUCHED = "left as it is: the default budget cannot be reached, or not judged"
TOO_FEW = f"too few samples to judge a loss by (at least {ENOUGH}): layers stay as they are, unless a budget is named"
NO_BUDGET = f"no budget and no data: layers lose at most {1 - FREE:.0e} of their weights' energy, next to nothing"


@dataclass(frozen=True)
class BudgetedPass(Pass):
    """Budgets refer to the model that entered the pipeline. macs, params, bytes and latency may be given together.

    `rules` names the options that decide layer by layer. `power` and `sensitivity_file` default to the run's.
    """

    rules: ClassVar[tuple[str, ...]] = ("energy",)

    macs: float | None = option(None, "keep at most this fraction of the Convs' multiply-accumulates", "(0, 1]")
    params: float | None = option(None, "keep at most this fraction of the Conv parameters", "(0, 1]")
    bytes: float | None = option(
        None, "keep at most this fraction of the file's bytes, as it is after this pass", "(0, 1]"
    )
    latency: float | None = option(
        None, "keep at most this fraction of the time that the target's cost model estimates", "(0, 1]"
    )
    energy: float | None = option(
        None, "keep this fraction of every layer's output energy (weight energy without data)", "(0, 1]"
    )
    agreement: float | None = option(
        None, "smallest size with this agreement with the original: of classes, or of pixels (held-out data)", "(0, 1]"
    )
    accuracy_drop: float | None = option(
        None, "smallest that loses at most these points of top-1 (held-out labels)", "[0, 100]"
    )
    error: float | None = option(
        None, "smallest with at most this error of the outputs, each channel relative to its spread", "(0, 1]"
    )
    metric_drop: float | None = option(
        None, "smallest that loses at most this by --metric FILE.py:FUNCTION, in its own units", "[0, inf)"
    )
    align: int | Literal["target"] = option(
        1, "sizes are multiples of this; target: the engine's channel multiple", "[1, 65536]"
    )
    precision: Literal["fp16", "int8", "fp32"] = option("fp16", "the precision that latencies are estimated for")
    power: str | None = option(None, "the power mode that latencies are estimated for; none: the run's")
    sensitivity: Literal["auto", "energy", "output"] = option(
        "energy", "how an error counts: alike in every layer, or by what it does to the outputs (measured)"
    )
    sensitivity_file: str | None = option(
        None, "file of sensitivities: read if it is there, else measured and written", is_file=True
    )
    ridge: float = option(1e-3, "pull towards the stored weight, relative to the mean input energy", "(0, 1e6]")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._given()

    def latency_model(self, ctx: Context) -> LatencyModel | None:
        """What a Conv takes on the target; None where that is not known."""
        return device_latency_model(ctx.target, self.precision, self.power or ctx.options.power_mode)

    def _given(self) -> Budget | None:
        return Budget.of(**{name: getattr(self, name) for name in (*LIMITS, *self.rules, *SEARCHED)})

    def _budget(self, graph: gs.Graph, ctx: Context, notes: list[str]) -> Budget:
        """What is given, or the default with a note: as small as the outputs allow; without data, what is free; no
        budget at all where samples are too few to judge by."""
        given = self._given()
        if given is not None:
            return given
        found = BudgetSearch.default(ctx, graph) if ctx.data is not None else Budget(rule="energy", value=FREE)
        if ctx.data is None or found is None:
            notes.append(NO_BUDGET if found else TOO_FEW)
        return found or Budget()

    def _countable(self, graph: gs.Graph, ctx: Context, budget: Budget, notes: list[str]) -> Budget:
        """`budget`; in the place of the default search one that needs no MACs, where they cannot be counted.

        `CompressError` where a budget that is asked for cannot be counted.
        """
        timed = self._pricing(ctx, budget) if "latency" in budget.units else None
        if timed is None and "macs" not in budget.limits and budget.rule not in SEARCHED:
            return budget
        try:
            for each in (ctx.original or graph, graph):
                shapes = network_shapes(each, ctx)
                require_macs(each, shapes)
                if timed is not None:
                    timed.graph(each, shapes)
        except UnknownShape as error:
            if self._given() is not None:
                raise Unavailable(f"{budget} cannot be counted: {error.what}", "budget", error.fix) from error
            notes.append(f"without a budget every layer is left as it is: {error.what}; {error.fix}")
            return Budget()
        return budget

    def _pricing(self, ctx: Context, budget: Budget) -> LatencyModel | None:
        """`latency_model`; `CompressError` where a budget needs one and there is none."""
        latency_model = self.latency_model(ctx)
        if latency_model is None and "latency" in budget.limits:
            fix = "choose a target that has one, or a budget such as macs=0.5"
            raise CompressError(f"target '{ctx.target.name}' has no cost model", "latency", fix)
        return latency_model

    def _multiple(self, ctx: Context) -> int:
        """What sizes are multiples of."""
        return ctx.target.int8_multiple if self.align == "target" else self.align

    def _record(self, outcome: SearchOutcome, result: PassResult) -> None:
        """Put a search into the report; `BudgetUnreachable` where nothing meets what was asked for by name."""
        if outcome.best is None and self._given() is not None:
            raise outcome.unreachable()
        result.notes.append(outcome.note())
        result.metrics.update(outcome.metrics())
        result.traces.searches.append(outcome.trace())

    def _sensitivity_file(self, ctx: Context) -> str | None:
        return self.sensitivity_file or ctx.options.sensitivity_file
