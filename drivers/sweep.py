"""One network at several budgets: each budget is a job of its own; decompositions survey the network once for all, and
other passes measure it once for all points of one process.

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
from ..compiler.pipeline.measurements import Measurements
from ..compiler.pipeline.options import RunOptions
from ..compiler.pipeline.spec import format_pipeline
from ..compiler.report.frontier import FrontierPoint, FrontierSize
from ..passes.budgets.budget import LIMITS, SEARCHED, BudgetUnreachable
from ..passes.budgets.budgeted_pass import BudgetedPass
from ..passes.budgets.clock import MODEL
from ..passes.decomposition.base import DecompositionPass
from ..passes.decomposition.survey import Survey
from ..runtime.quality.comparison import Agreement
from ..runtime.quality.judge import CHOICES
from ..runtime.quality.own_metric import own_metric
from ..runtime.quality.verdict import Verdict, verdict_of_run
from ..runtime.shapes import network_shapes
from ..runtime.time_after_passes import estimated_ms

Size = tuple[int | None, float | None]
"""MACs and milliseconds, as far as they are known."""


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
        measurements: what the points share in this process.
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
    measurements: Measurements = field(default_factory=Measurements)

    def __post_init__(self) -> None:
        first = self.passes[0]
        if not isinstance(first, BudgetedPass):
            fix = "begin with a pass that has one: basis, prune, depth, fast"
            raise UsageError(f"'{first.name}' has no budget {self.unit}=", "--method", fix)
        given = [name for name in (*LIMITS, *SEARCHED, *first.rules) if getattr(first, name) is not None]
        if given:
            raise UsageError(f"the method has the budget {given[0]}=", "--method", "leave it out: --budget varies it")

    def at(self, share: float) -> tuple[BudgetedPass, Sequence[Pass]]:
        """The passes of a point: the first, and those that follow."""
        changed: Any = {self.unit: share}
        return replace(self.first, **changed), self.passes[1:]

    @property
    def first(self) -> BudgetedPass:
        """The pass that gets the budget."""
        first = self.passes[0]
        assert isinstance(first, BudgetedPass)
        return first

    def context(self) -> Context:
        ctx = Context(self.options, self.fitting, overrides=self.overrides, activation_bytes=self.activation_bytes)
        ctx.running, ctx.following, ctx.measurements = self.first.name, self.passes[1:], self.measurements
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
        found = self.verdict(graph, graph, ctx)
        top1 = None if found.accuracy is None else found.accuracy.value
        macs, ms = self.size(graph, ctx)
        return found.judged.metric, FrontierSize(macs=macs, latency_ms=ms, top1=top1, value=found.judged.value)

    def size(self, graph: gs.Graph, ctx: Context) -> Size:
        """MACs and milliseconds."""
        return graph_cost(graph, network_shapes(graph, ctx)).macs, self.latency(graph, ctx)


def points(sweep: FrontierSweep, shares: Sequence[float], ctx: Context) -> Iterator[FrontierPoint]:
    """A point per share, in order, as `ctx.jobs` gets them done."""
    found, whole = _survey(sweep, shares[0], ctx), sweep.size(sweep.graph(), sweep.context())
    calls = ((share, (sweep, found, whole, share)) for share in shares)
    yield from (point for _, point in ctx.jobs.run(_point, calls))


def _survey(sweep: FrontierSweep, share: float, ctx: Context) -> Survey | None:
    """What holds at every budget; None for passes that find all anew at each."""
    first, _ = sweep.at(share)
    if not isinstance(first, DecompositionPass):
        return None
    return first.surveyed(sweep.graph(), replace(sweep.context(), jobs=ctx.jobs, progress=ctx.progress))


def _point(sweep: FrontierSweep, found: Survey | None, original: Size, share: float) -> FrontierPoint:
    """A job."""
    started, graph = time.perf_counter(), sweep.graph()
    first, others = sweep.at(share)
    ctx = sweep.context()
    ctx.original = copy_graph(graph)
    point = FrontierPoint(share=share, pipeline=format_pipeline((first, *others)))
    try:
        if found is not None and isinstance(first, DecompositionPass):
            first.rewritten(graph, ctx, found)
        else:
            first.run(graph, ctx)
    except BudgetUnreachable as error:
        return {**point, "unreachable": str(error)}
    for index, entry in enumerate(others, 1):
        ctx.running, ctx.following = entry.name, others[index:]
        entry.run(graph, ctx)
    ctx.following = ()
    point.update(_size(sweep, graph, original, ctx))
    point.update(_quality(sweep.verdict(ctx.original, graph, ctx)))
    return {**point, "seconds": round(time.perf_counter() - started, 1)}


def _size(sweep: FrontierSweep, graph: gs.Graph, original: Size, ctx: Context) -> FrontierPoint:
    macs, ms = sweep.size(graph, ctx)
    shares = _share(macs, original[0]), _share(ms, original[1])
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
