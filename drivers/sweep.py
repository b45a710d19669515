"""One network at several budgets: surveyed once, then each budget is a job of its own.

A job rewrites a copy of the network and judges it on samples that no fit has seen. Passes after the first follow it at
every budget.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ..compiler.costs.network_cost import graph_cost
from ..compiler.errors import UsageError
from ..compiler.graph.copies import copy_graph
from ..compiler.graph.io import from_proto
from ..compiler.pipeline.base import Pass
from ..compiler.pipeline.context import Context, Override
from ..compiler.pipeline.data import ACTIVATIONS, Data
from ..compiler.pipeline.options import RunOptions
from ..compiler.pipeline.spec import format_pipeline
from ..compiler.report.frontier import FrontierPoint, FrontierSize
from ..passes.budgets.budget import LIMITS, SEARCHED, BudgetUnreachable
from ..passes.budgets.clock import MODEL
from ..passes.decomposition.base import DecompositionPass
from ..passes.decomposition.survey import Survey
from ..runtime.quality.comparison import Agreement
from ..runtime.quality.judge import CHOICES
from ..runtime.quality.own_metric import own_metric
from ..runtime.quality.verdict import Verdict, verdict_of_run
from ..runtime.shapes import network_shapes
from ..runtime.time_after_passes import estimated_ms


@dataclass(frozen=True)
class FrontierSweep:
    """What all points have in common, as plain values: it is sent to workers.

    Attributes:
        network: the model, serialized; budgets refer to it.
        passes: the first gets the budget.
        unit: of the budget, "macs" or "latency".
        fitting, judged: samples for the fits, and others that points are judged on.
        options: of the run, without its data.
        overrides, activation_bytes: see `Context`.
        whole: the value of the original by a metric of the user's, where the run has one.
    """

    network: bytes
    passes: tuple[Pass, ...]
    unit: str
    fitting: Data
    judged: Data
    options: RunOptions = field(default_factory=RunOptions)
    overrides: tuple[Override, ...] = ()
    activation_bytes: int = ACTIVATIONS
    whole: float | None = None

    def __post_init__(self) -> None:
        first = self.passes[0]
        if not isinstance(first, DecompositionPass):
            raise UsageError(f"'{first.name}' has no budget {self.unit}=", "--method", "begin with a decomposition")
        given = [name for name in (*LIMITS, *SEARCHED, "energy", "rank") if getattr(first, name) is not None]
        if given:
            raise UsageError(f"the method has the budget {given[0]}=", "--method", "leave it out: --budget varies it")

    def at(self, share: float) -> tuple[DecompositionPass, Sequence[Pass]]:
        """The passes of a point: the first, and those that follow."""
        changed: Any = {self.unit: share}
        return replace(self.first, **changed), self.passes[1:]

    @property
    def first(self) -> DecompositionPass:
        """The pass that gets the budget."""
        first = self.passes[0]
        assert isinstance(first, DecompositionPass)
        return first

    def context(self) -> Context:
        ctx = Context(self.options, self.fitting, overrides=self.overrides, activation_bytes=self.activation_bytes)
        ctx.running, ctx.following = self.first.name, self.passes[1:]
        ctx.metric = own_metric(self.options.metric, CHOICES, self.whole)
        return ctx

    def graph(self) -> gs.Graph:
        return from_proto(onnx.load_model_from_string(self.network)).graph

    @property
    def measured(self) -> bool:
        """Whether latencies are."""
        return self.first.clock != MODEL

    def latency(self, graph: gs.Graph, ctx: Context) -> float | None:
        """Milliseconds once what follows in `ctx` has run, measured or by the target's model; None where there is
        neither, or a shape is not known."""
        if not self.measured:
            return estimated_ms(graph, ctx)
        latency_model = self.first.latency_model(ctx)
        return None if latency_model is None else latency_model.graph(graph, network_shapes(graph, ctx))

    def verdict(self, original: gs.Graph, graph: gs.Graph, ctx: Context) -> Verdict:
        found = verdict_of_run(original, graph, ctx, self.judged)
        assert found is not None, "there are samples"
        return found

    def original(self) -> tuple[str, FrontierSize]:
        """The metric that points are judged by, and the network itself."""
        graph, ctx = self.graph(), self.context()
        macs = graph_cost(graph, network_shapes(graph, ctx)).macs
        found = self.verdict(graph, graph, ctx)
        top1 = None if found.accuracy is None else found.accuracy.value
        size = FrontierSize(macs=macs, latency_ms=self.latency(graph, ctx), top1=top1, value=found.judged.value)
        return found.judged.metric, size


def points(sweep: FrontierSweep, shares: Sequence[float], ctx: Context) -> Iterator[FrontierPoint]:
    """A point per share, in order, as `ctx.jobs` gets them done."""
    surveyed = replace(sweep.context(), jobs=ctx.jobs, progress=ctx.progress)
    graph = sweep.graph()
    found = sweep.at(shares[0])[0].surveyed(graph, surveyed)
    macs = found.original.get("macs")
    whole = FrontierSize(
        macs=None if macs is None else int(macs),
        latency_ms=sweep.latency(graph, sweep.context()),
        top1=None,
        value=None,
    )
    calls = ((share, (sweep, found, whole, share)) for share in shares)
    yield from (point for _, point in ctx.jobs.run(_point, calls))


def _point(sweep: FrontierSweep, found: Survey, original: FrontierSize, share: float) -> FrontierPoint:
    """A job."""
    started, graph = time.perf_counter(), sweep.graph()
    first, others = sweep.at(share)
    ctx = sweep.context()
    ctx.original = copy_graph(graph)
    point = FrontierPoint(share=share, pipeline=format_pipeline((first, *others)))
    try:
        first.rewritten(graph, ctx, found)
    except BudgetUnreachable as error:
        return {**point, "unreachable": str(error)}
    for index, entry in enumerate(others, 1):
        ctx.running, ctx.following = entry.name, others[index:]
        entry.run(graph, ctx)
    ctx.following = ()
    point.update(_size(sweep, graph, original, ctx))
    point.update(_quality(sweep.verdict(ctx.original, graph, ctx)))
    return {**point, "seconds": round(time.perf_counter() - started, 1)}


def _size(sweep: FrontierSweep, graph: gs.Graph, original: FrontierSize, ctx: Context) -> FrontierPoint:
    macs = graph_cost(graph, network_shapes(graph, ctx)).macs
    ms = sweep.latency(graph, ctx)
    shares = _share(macs, original["macs"]), _share(ms, original["latency_ms"])
    return FrontierPoint(macs=macs, macs_kept=shares[0], latency_ms=ms, latency_kept=shares[1])


def _share(after: float | None, before: float | None) -> float | None:
    return after / before if after is not None and before else None


def _quality(found: Verdict) -> FrontierPoint:
    judged, accuracy = found.judged, found.accuracy
    return FrontierPoint(
        metric=judged.metric,
        value=judged.value,
        deviation=judged.deviation,
        agreement=judged.value if judged.metric == Agreement.metric else None,
        output_error=found.distance,
        top1=None if accuracy is None else accuracy.value,
    )
