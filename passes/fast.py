"""The fastest network within a quality, or the best within a time: blocks, filters and factors chosen together.

A network gets faster by fewer kernels (`depth`) and by smaller ones (`prune`, `basis`). Which is the better bargain
differs between networks and changes on the way: the first blocks that merge lose next to nothing, the last ones ruin
it, and where kernels take the time that any kernel takes, filters that go save none. All is counted in one currency,
the divergence at the outputs per share of the time saved on the target, in the precision in which the pipeline ends:
at one price, blocks merge or go, filters go and layers become factors as long as the next saving loses less
(`joint_choice.paths`). Convs that read one tensor become one before that, where it saves 2 % of the time or more: it
loses nothing (`horizontal_fusion`; SqueezeNet at `latency=0.9` 57.6 of 58.4 at 0.80, without it 42.2 at 0.90).

What is foreseen of losses is put right by a few networks that are built and judged on samples that no fit has seen
(`joint_choice.contest`). Blocks alone are always among them, and the first: where they lose next to nothing, or where
filters or factors cannot save 2 % of the time, nothing is measured of these, and the pass is `depth`.

Sizes are multiples of what the kernels of the target take, in that precision.

ResNet-20 (top-1 91.73 on all CIFAR-10 test images), latency=0.75 in FP32 at 10 W, 585 unlabelled training images; the
divergence, and top-1:

    blocks alone      0.008    90.82    what `fast` takes
    filters alone     0.115 for half of the saving; 69.33 by `prune` for all of it

FastestDet, `fast:metric-drop=3,quantize:metric-drop=3` with mAP50 as the metric: one block goes; 0.741 of the time in
FP16, mAP50 35.6 on 128 other pictures, where the original has 35.2. EfficientNet-Lite0,
`fast:latency=0.687ms,collapse,quantize`: two blocks go, two pairs merge, `collapse` joins three pairs: 0.738 of the
time that INT8 alone takes, top-1 88.8 of 91.8 on 500 others (without `collapse`, 0.746 by five changes: 84.8).
ResNet-56, `fast:latency=0.65` in FP16, 1,024 images: 12 merges, 0.639, top-1 92.51 of 93.39, the file that `depth`
writes. With random weights and no data ResNet-50 keeps `latency=0.2`, VGG-16 `latency=0.46`.

HALP (Shen et al., NeurIPS 2022) divides a time over filters; "Practical Network Acceleration with Tiny Sets" (Wang and
Wu, CVPR 2023) drops blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ..compiler.costs.network_cost import graph_cost
from ..compiler.errors import CompressError
from ..compiler.pipeline.base import PassResult, WeightForm, last_decisions, option
from ..compiler.pipeline.context import Context, Snapshot
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.ending import ending_precision
from ..compiler.pipeline.registry import register
from ..runtime.shapes import network_shapes
from .basis import Basis
from .budgets.budget import Budget, BudgetUnreachable, slack_notes
from .budgets.budgeted_pass import UNTOUCHED, BudgetedPass
from .budgets.clock import MEASURED
from .budgets.file_size import network_ms
from .budgets.search import BudgetSearch, search_smallest
from .depth import HELD, Depth
from .depth_removal.order import Trials
from .joint_choice.contest import Contest
from .joint_choice.factors import factor_way, with_saving
from .joint_choice.filters import filter_way
from .joint_choice.plans import Builder, Plan
from .joint_choice.ways import WORTH, Way, WayOptions
from .merging.search import FusionSearch

ONLY_TIME = "fast makes a network faster: expected latency=, agreement=, error=, accuracy-drop= or metric-drop="
UNTIMED = "the time is not known: every layer is left as it is"
SHARED = ("precision", "clock", "batch", "threads", "power", "ridge")


@register
@dataclass(frozen=True)
class Fast(BudgetedPass):
    """Fewer and smaller layers: the fastest network within a quality, or the best within a time.

    Budgets refer to the model that entered the pipeline: latency=0.5 or latency=1.2ms, or a quality that the fastest
    network has to keep. `quantize` behind it rounds what is left; time is counted in INT8 then.
    """

    name: ClassVar[str] = "fast"
    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))

    fuse: bool = option(True, "Convs that read one tensor may become one first, as `horizontal-fusion` has it")
    merge: bool = option(True, "two residual blocks in a row may become one wide block")
    filters: bool = option(True, "filters may go")
    factors: bool = option(True, "a basis may stand in the place of a Conv")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self._given()
        if (given is not None and given.limits.keys() - {"latency"}) or self.objective not in ("auto", "latency"):
            raise ValueError(ONLY_TIME)

    def weight_form(self, ctx: Context) -> WeightForm:
        return "kept" if ctx.options.data is None else "float"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        notes: list[str] = []
        budget = self._timed(graph, ctx, notes)
        if not (budget.rule or budget.limits):
            return PassResult(notes=notes)
        fused = self._fused(graph, ctx)
        chosen = self._chosen(budget, graph, ctx, fused.changed)
        chosen.notes[:0] = notes
        return _together(fused, chosen) if fused.changed else chosen

    def _fused(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Convs that read one tensor as one, where that saves `WORTH` of the time: what loses nothing comes first."""
        model = self.latency_model(ctx)
        if not self.fuse or self.clock == MEASURED or model is None:
            return PassResult()
        before, took = Snapshot.of(graph, ctx), network_ms(model)(graph, ctx)
        result = FusionSearch(graph, ctx, model).run()
        takes = network_ms(model)(graph, ctx)
        if takes <= (1 - WORTH) * took:
            whole = network_ms(model)(ctx.original or before.graph, ctx)
            return replace(result, metrics={"fused": result.metrics["fused"], "latency_kept": takes / whole})
        before.put_back(graph, ctx)
        return PassResult()

    def _chosen(self, budget: Budget, graph: gs.Graph, ctx: Context, fused: bool) -> PassResult:
        """What loses something; `fused`: the graph is faster already."""
        result = PassResult()
        ctx = ctx.holding(HELD)
        search = self._search(budget, graph, ctx)
        contest = self._contest(graph, ctx, ctx.data if search is None else search.fitting, result.notes)
        if budget.limits and contest.start <= budget.limits["latency"]:
            result.notes += slack_notes(budget, {"latency": contest.start}, changed=fused)
            return result
        if search is None:
            share = budget.limits["latency"]
            best = contest.best(share)
            self._write(contest, [each.plan for each in contest.entrants] or [best], graph, ctx, result)
            result.notes += [contest.said[share]] if share in contest.said and result.changed else []
            result.notes += slack_notes(budget, {"latency": result.metrics["latency_kept"]}) if result.changed else []
            return result
        plan = self._searched(contest, search, graph, ctx, result)
        if plan is not None:
            self._write(contest, [plan], graph, ctx, result)
        return result

    def outlook(self, graph: gs.Graph, ctx: Context) -> Mapping[str, str]:
        """Filters and factors by layer, blocks by their last node."""
        shared = {name: getattr(self, name) for name in SHARED}
        return {**super().outlook(graph, ctx), **Depth(merge=self.merge, **shared).outlook(graph, ctx)}

    def _timed(self, graph: gs.Graph, ctx: Context, notes: list[str]) -> Budget:
        """The budget; none at all where the time is not known and nobody asked for it."""
        if self.latency_model(ctx) is None:
            fix = "choose a target that has one, or clock=measured"
            raise CompressError(f"target '{ctx.target.name}' has no cost model", "fast", fix)
        found: list[str] = []
        budget = self._asked(graph, ctx, found)
        if budget.rule and budget.cost != "latency":
            notes.append(UNTIMED)
            return Budget()
        notes += found
        return budget

    def _contest(self, graph: gs.Graph, ctx: Context, data: Data | None, notes: list[str]) -> Contest:
        """Plans are fitted to one half of the data and judged by the other, whatever is held."""
        free, shared = replace(ctx, held=frozenset()), {name: getattr(self, name) for name in SHARED}
        depth = Depth(merge=self.merge, **shared)
        problem = depth.problem(graph, free, Budget({"latency": 1.0}))

        def measure(graph: gs.Graph) -> tuple[Trials, Callable[[], list[Way]]]:
            trials = depth.trials(problem, graph, data, notes)
            return trials, cache(lambda: list(self._ways(graph, free, trials.meter.fitting, shared)))

        problem.trials, ways = self._once(graph, free, data, measure)
        meter = problem.trials.meter
        return Contest(free, Builder(depth, problem), meter, meter.fitting, ways)

    def _ways(self, graph: gs.Graph, ctx: Context, data: Data | None, shared: Mapping[str, Any]) -> Iterator[Way]:
        """To make layers smaller; those that save time."""
        model, multiple = self.latency_model(ctx), self._channel_multiple(ctx)
        if model is None:
            return
        options = WayOptions(model, multiple, self.ridge)

        def factorize(graph: gs.Graph, ctx: Context, share: float) -> PassResult:
            found = Basis(latency=share, align=multiple, **shared).run(graph, ctx)
            whole = network_ms(model)(ctx.original or graph, ctx)
            return replace(found, decisions=[with_saving(each, whole) for each in found.decisions])

        filters = filter_way(graph, ctx, data, options) if self.filters else None
        factors = factor_way(graph, ctx, data, options, factorize) if self.factors else None
        yield from (way for way in (filters, factors) if way is not None)

    def _channel_multiple(self, ctx: Context) -> int:
        """What the kernels take channels in."""
        if self.clock == MEASURED:
            return self._measured_multiple(ctx)
        precision = ending_precision(ctx) if self.precision == "auto" else self.precision
        return ctx.target.int8_multiple if precision == "int8" else ctx.target.half_multiple

    def _searched(
        self, contest: Contest, search: BudgetSearch, graph: gs.Graph, ctx: Context, result: PassResult
    ) -> Plan | None:
        """The plan for the least time that is good enough."""
        plans: dict[float, Plan] = {}

        def attempt(trial: gs.Graph, share: float, data: Data | None) -> float:
            plans[share] = contest.best(share)
            contest.builder.write(plans[share], trial, replace(contest.ctx, state=ctx.state.copy()), data)
            macs = graph_cost(trial, network_shapes(trial, ctx)).macs or 0.0
            return macs / contest.builder.problem.original["macs"]

        outcome = search_smallest(graph, ctx, search, attempt, contest.least())
        self._record(outcome, result)
        if outcome.best is None:
            return None
        result.notes += [contest.said[outcome.best.share]] if outcome.best.share in contest.said else []
        return plans[outcome.best.share]

    def _write(
        self, contest: Contest, plans: Sequence[Plan], graph: gs.Graph, ctx: Context, result: PassResult
    ) -> None:
        """The first plan that can be kept, into the graph."""
        before, builder = Snapshot.of(graph, ctx), contest.builder
        builder = replace(builder, problem=replace(builder.problem, ctx=ctx))
        done = _made(builder, plans, graph, ctx)
        result.metrics |= done.metrics
        result.decisions = last_decisions([*builder.problem.skipped(), *done.decisions])
        result.changed = self._is_faster(graph, before, ctx, result)
        model = self.latency_model(ctx)
        if result.changed and model is not None:
            whole = network_ms(model)(ctx.original or before.graph, ctx)
            result.metrics["latency_kept"] = network_ms(model)(graph, ctx) / whole
        if not result.changed:
            result.decisions = [replace(each, action="kept", reason=UNTOUCHED) for each in result.decisions]


def _together(fused: PassResult, chosen: PassResult) -> PassResult:
    return replace(
        chosen,
        changed=True,
        decisions=last_decisions([*(each for each in fused.decisions if each.action != "skipped"), *chosen.decisions]),
        metrics={**fused.metrics, **chosen.metrics},
        notes=[*fused.notes, *chosen.notes],
    )


def _made(builder: Builder, plans: Sequence[Plan], graph: gs.Graph, ctx: Context) -> PassResult:
    """The first plan that can be kept with all of the data."""
    before, (first, *others) = Snapshot.of(graph, ctx), plans
    try:
        return builder.write(first, graph, ctx, ctx.data)
    except BudgetUnreachable:
        if not others:
            raise
    before.put_back(graph, ctx)
    return _made(builder, others, graph, ctx)
