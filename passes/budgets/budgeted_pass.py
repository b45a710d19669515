"""The passes behind every pass with a budget: the options they share, their checks and defaults.

BudgetedPass    how small the network is to become
SizingPass      of passes that give sizes to layers
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import lcm
from typing import Any, ClassVar, Literal, TypeVar

import onnx_graphsurgeon as gs

from ...compiler.costs.cost_model import Foresee, device_latency_model
from ...compiler.costs.latency import Precision
from ...compiler.costs.network_cost import require_macs
from ...compiler.costs.scaled_latency import ScaledLatencyModel
from ...compiler.costs.unknown import UnknownShape
from ...compiler.costs.workload import LatencyModel
from ...compiler.errors import CompressError, Unavailable
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.io import graph_digest
from ...compiler.jobs import check_threads
from ...compiler.pipeline.base import Pass, PassResult, option
from ...compiler.pipeline.context import Context, Snapshot
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.ending import ending_precision, foreseen
from ...compiler.pipeline.milliseconds import Milliseconds
from ...compiler.pipeline.spec import format_pipeline
from ...runtime.measured_latency import MeasuredLatencyModel, channel_multiple
from ...runtime.shapes import network_shapes
from . import clock as clocks
from .budget import FREE, LIMITS, SEARCHED, Budget
from .file_size import network_ms
from .search import ENOUGH, BudgetSearch, SearchOutcome

T = TypeVar("T")
UNTOUCHED = "left as it is: the default budget cannot be reached, or not judged"
TOO_FEW = f"too few samples to judge a loss by (at least {ENOUGH}): layers stay as they are, unless a budget is named"
SAVES_NOTHING = (
    "the network as a whole would take no less time ({1:.3g} ms instead of {0:.3g}): layers stay as they are"
)
TIMED_IN_FLOAT = "clock=measured times kernels in FP32, and the pipeline ends in INT8, whose kernels take other shares"
NOTHING = "no budget and no data to judge losses by: nothing is done"
NO_BUDGET = f"no budget and no data: layers lose at most {1 - FREE:.0e} of their weights' energy, next to nothing"


@dataclass(frozen=True)
class BudgetedPass(Pass):
    """Budgets refer to the model that entered the pipeline. macs, params, bytes and latency may be given together.

    `rules` names the options beside them that say how much is done. `power` defaults to the run's.
    """

    rules: ClassVar[tuple[str, ...]] = ()

    macs: float | None = option(None, "keep at most this fraction of the Convs' multiply-accumulates", "(0, 1]")
    params: float | None = option(None, "keep at most this fraction of the Conv parameters", "(0, 1]")
    bytes: float | None = option(
        None, "keep at most this fraction of the file's bytes, as it is after this pass", "(0, 1]"
    )
    latency: float | Milliseconds | None = option(  # noqa: RUF009
        None, "keep at most this fraction of the time, as the pipeline ends, or 1.2ms; see `clock`", "(0, 1]"
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
    objective: Literal["auto", "latency", "macs", "params", "bytes"] = option(
        "auto", "what a search makes small; auto: the time on the target, MACs where it has no cost model"
    )
    precision: Literal["auto", "fp16", "int8", "fp32"] = option(
        "auto", "the precision that latencies are estimated for; auto: the one in which the pipeline ends"
    )
    clock: str = option(clocks.MODEL, clocks.HELP, reads=clocks.files_of)
    batch: int = option(1, "batch size with clock=measured", "[1, 65536]")
    threads: int = option(1, "threads of onnxruntime with clock=measured; at most one per core", "[1, 1024]")
    power: str | None = option(None, "the power mode that latencies are estimated for; none: the run's")
    ridge: float = option(1e-3, "pull towards the stored weight, relative to the mean input energy", "(0, 1e6]")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.latency, str):
            object.__setattr__(self, "latency", _time(self.latency))
        given = self._given()
        if self.objective != "auto" and given is not None and given.rule not in SEARCHED:
            raise ValueError(f"objective={self.objective} and {given} are given: an objective is of a search")
        if self.clock == clocks.MEASURED:
            check_threads(self.threads, f"pass '{self.name}'")

    def latency_model(self, ctx: Context) -> LatencyModel | None:
        """What a Conv takes on the target, or here; None where that is not known."""
        if self.clock == clocks.MEASURED:
            entered = ctx.original
            known = None if entered is None else lambda: (entered, network_shapes(entered, ctx))
            foresee = partial(foreseen, ctx=ctx) if self._timed_in_int8(ctx) else None
            return MeasuredLatencyModel(self.batch, self.threads, entered=known, foresee=foresee)
        if self.precision != "auto":
            return self._on_device(ctx, self.precision, self.clock)
        return self._on_device(ctx, ending_precision(ctx), self.clock, partial(foreseen, ctx=ctx))

    def _timed_in_int8(self, ctx: Context) -> bool:
        """Whether kernels of onnxruntime are: it has them for the pairs of its own target."""
        wanted = self.precision in ("auto", "int8") and ending_precision(ctx) == "int8"
        return wanted and ctx.target.asymmetric_activations

    def _measured_multiple(self, ctx: Context) -> int:
        """What kernels of onnxruntime take channels in."""
        return channel_multiple(self._timed_in_int8(ctx))

    def _on_device(
        self, ctx: Context, precision: Precision, clock: str, foresee: Foresee | None = None
    ) -> LatencyModel | None:
        power = self.power or ctx.options.power_mode
        model = device_latency_model(ctx.target, precision, power, foresee)
        return model if clock == clocks.MODEL else clocks.scaled(clock, model, ctx.target, precision, power)

    def _given(self) -> Budget | None:
        return Budget.of(**{name: getattr(self, name) for name in (*LIMITS, *self.rules, *SEARCHED)})

    def _budget(self, graph: gs.Graph, ctx: Context, notes: list[str]) -> Budget:
        """What is given, or the default with a note: as small as the outputs allow; no budget at all where samples are
        too few to judge by."""
        given = self._given()
        if given is not None:
            return replace(given, cost=self._objective(ctx)) if given.rule in SEARCHED else given
        found = self._free(notes) if ctx.data is None else BudgetSearch.default(ctx, graph)
        if ctx.data is not None and found is None:
            notes.append(TOO_FEW)
        return replace(found, cost=self._objective(ctx)) if found and found.rule in SEARCHED else found or Budget()

    def _objective(self, ctx: Context) -> str:
        """The cost that a search makes small."""
        if self.objective != "auto":
            return self.objective
        return "macs" if self.latency_model(ctx) is None else "latency"

    def _free(self, notes: list[str]) -> Budget:
        """What is done without a budget and without data."""
        notes.append(NOTHING)
        return Budget()

    def _countable(self, graph: gs.Graph, ctx: Context, budget: Budget, notes: list[str]) -> Budget:
        """`budget`, its limit of time as a share; in the place of the default search one that needs no MACs, where they
        cannot be counted, and MACs in the place of a time that nobody has asked for.

        `CompressError` where a budget that is asked for cannot be counted.
        """
        timed = self._pricing(ctx, budget) if "latency" in budget.units else None
        if timed is None and "macs" not in budget.limits and budget.rule not in SEARCHED:
            return budget
        try:
            whole, *_ = [_counted(each, ctx, timed) for each in (ctx.original or graph, graph)]
        except UnknownShape as error:
            given = self._given()
            if given is not None and timed is not None and not given.limits and self.objective == "auto":
                notes.append(f"the time is not known, and MACs are made few in its place: {error.what}; {error.fix}")
                return self._countable(graph, ctx, replace(budget, cost="macs"), notes)
            if given is not None:
                raise Unavailable(f"{budget} cannot be counted: {error.what}", "budget", error.fix) from error
            notes.append(f"without a budget every layer is left as it is: {error.what}; {error.fix}")
            return Budget()
        if isinstance(timed, ScaledLatencyModel):
            timed.check(ctx.original or graph, network_shapes(ctx.original or graph, ctx))
            notes.append(timed.note(graph, network_shapes(graph, ctx)))
        return budget.against(whole)

    def _asked(self, graph: gs.Graph, ctx: Context, notes: list[str]) -> Budget:
        """What is given or the default, countable."""
        budget = self._countable(graph, ctx, self._budget(graph, ctx, notes), notes)
        timed = "latency" in (*budget.limits, budget.cost)
        in_float = ending_precision(ctx) == "int8" and not self._timed_in_int8(ctx)
        if timed and self.clock == clocks.MEASURED and in_float:
            notes.append(TIMED_IN_FLOAT)
        return budget

    def _search(self, budget: Budget, graph: gs.Graph, ctx: Context) -> BudgetSearch | None:
        """For budgets of quality."""
        return BudgetSearch.of(budget, ctx, graph) if budget.rule in SEARCHED else None

    def _pricing(self, ctx: Context, budget: Budget) -> LatencyModel | None:
        """`latency_model`; `CompressError` where a budget needs one and there is none."""
        latency_model = self.latency_model(ctx)
        if latency_model is None and "latency" in (*budget.limits, self.objective):
            fix = "choose a target that has one, or a budget such as macs=0.5"
            raise CompressError(f"target '{ctx.target.name}' has no cost model", "latency", fix)
        return latency_model

    def _once(self, graph: gs.Graph, ctx: Context, data: Data | None, measure: Callable[[gs.Graph], T]) -> T:
        """What hangs on the network, the samples and the options, but not on how far the limits go: measured once for
        all runs that share `Context.measurements`, of a copy that none of them rewrites."""
        if ctx.measurements is None or data is None:
            return measure(graph)
        unlimited: Any = {name: 1.0 for name in LIMITS if getattr(self, name) is not None}
        original = graph_digest(ctx.original or graph)
        options = json.dumps(ctx.options.deciding(), default=str), str(ctx.overrides), tuple(sorted(ctx.held))
        passes = format_pipeline((replace(self, **unlimited), *ctx.following))
        key = (original, graph_digest(graph), data.digest, passes, *options)
        return ctx.measurements.once(key, lambda: measure(copy_graph(graph)))

    def _record(self, outcome: SearchOutcome, result: PassResult) -> None:
        """Put a search into the report; `BudgetUnreachable` where nothing smaller meets what was asked for by name.
        What cannot be faster stays as fast as it is."""
        if outcome.best is None and self._given() is not None and outcome.search.cost != "latency":
            raise outcome.unreachable()
        result.notes.append(outcome.note())
        result.metrics.update(outcome.metrics())
        result.traces.searches.append(outcome.trace())

    def clocked(self, ctx: Context) -> LatencyModel | None:
        """By which the network as a whole is timed again, once it is rewritten. Two measurements of one differ."""
        return None if self.clock == clocks.MEASURED else self.latency_model(ctx)

    def _weighing(self, ctx: Context) -> LatencyModel | None:
        """`clocked`, where a limit of time has to be kept: what a search has judged is written as it is."""
        given = self._given()
        return self.clocked(ctx) if given is not None and "latency" in given.limits else None

    def _is_faster(self, graph: gs.Graph, before: Snapshot, ctx: Context, result: PassResult) -> bool:
        """Whether the rewritten network as a whole takes less time than `before`, which is put back otherwise."""
        model = self.clocked(ctx)
        if model is None:
            return True
        took, takes, whole = (
            network_ms(model)(each, ctx) for each in (before.graph, graph, ctx.original or before.graph)
        )
        if takes < took:
            result.metrics["latency_kept"] = takes / whole
            return True
        before.put_back(graph, ctx)
        result.metrics = {name: value for name, value in result.metrics.items() if not name.endswith("_kept")}
        result.notes.append(SAVES_NOTHING.format(took, takes))
        return False


@dataclass(frozen=True)
class SizingPass(BudgetedPass):
    """Passes that choose a size for every layer; `sensitivity_file` defaults to the run's."""

    rules: ClassVar[tuple[str, ...]] = ("energy",)

    energy: float | None = option(
        None, "keep this fraction of every layer's output energy (weight energy without data)", "(0, 1]"
    )
    align: int | Literal["target"] = option(
        1, "sizes are multiples of this; target: the engine's channel multiple", "[1, 65536]"
    )
    sensitivity: Literal["auto", "energy", "output"] = option(
        "energy", "how an error counts: alike in every layer, or by what it does to the outputs (measured)"
    )
    sensitivity_file: str | None = option(
        None, "file of sensitivities: read if it is there, else measured and written", is_file=True
    )

    def _free(self, notes: list[str]) -> Budget:
        notes.append(NO_BUDGET)
        return Budget(rule="energy", value=FREE)

    def _multiple(self, ctx: Context) -> int:
        """What sizes are multiples of."""
        multiple = ctx.target.int8_multiple if self.align == "target" else self.align
        return lcm(multiple, self._measured_multiple(ctx)) if self.clock == clocks.MEASURED else multiple

    def _sensitivity_file(self, ctx: Context) -> str | None:
        return self.sensitivity_file or ctx.options.sensitivity_file


def _counted(graph: gs.Graph, ctx: Context, timed: LatencyModel | None) -> float:
    """What the network takes, where it is timed, else 0; `UnknownShape` where that or its MACs cannot be counted."""
    shapes = network_shapes(graph, ctx)
    require_macs(graph, shapes)
    return 0.0 if timed is None else timed.graph(graph, shapes)


def _time(text: str) -> Milliseconds:
    """A time that Python code gives as text; `ValueError` for any other text."""
    found = Milliseconds.parse(text)
    if found is None:
        raise ValueError(f"latency={text!r}: expected a fraction, or a time such as 1.2ms")
    return found
