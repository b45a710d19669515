"""Fewer layers, one after the other: whole blocks removed, pairs of blocks merged, and what makes up for it.

A kernel takes its time before it computes anything, so that a network of small layers is as slow as it is deep.

**Removed** can be a block that begins at a tensor and ends at another of the same shape, with nothing else that leads
in or out (`compiler.graph.blocks`): the branch of a residual sum, whatever is in it, or a stage among equal ones.
"Practical Network Acceleration with Tiny Sets" (Wang and Wu, 2023) drops blocks for the same reason, chosen by how well
the network recovers.

**Merged** can be two residual blocks in a row whose branches are alike (`compiler.graph.wide_blocks`):

    z = f(y + G(y)),  y = f(x + F(x))        becomes        z = f(x + F(x) + G(x))

one block of their joint width, with half the kernels and as many multiplications. It saves half of what a block saves
that goes, and loses 10 to 100 times less; wide blocks merge on.

Which changes are made: those that lose least at the outputs for what they save, once the layers around them are fitted
(`depth_removal.losses`), greedily (`depth_removal.order`). What makes up for them: these layers, and all behind the
first change, fitted in lockstep to what the network before gave (`depth_removal.repair`), as far as helps samples that
the fits have not seen (`depth_removal.strength`). Where the branches that go are zero, nothing changes.

Without data nothing is fitted, and the changes are chosen on random inputs.

ResNet-56 (top-1 93.39 on all CIFAR-10 test images), 1,024 unlabelled training images fitted to, no gradient steps:

    latency=0.8     7 merges   0.792 of the time in FP16    top-1 93.14 to 93.42    merge=false: 7 blocks, 0.771, 92.40
    latency=0.65    12 merges  0.639                        92.51 to 92.75                 11 blocks, 0.632, 90.23

`depth,quantize`, with its default of 97 % agreement: 16 merges, 0.675 ms where INT8 alone takes 1.369, and 91.87.

In the place of a branch one Conv, fitted to what it gave (Wang and Wu have a 1 x 1 Conv, the adaptor), gains nothing:
each by itself loses little, but their losses grow fast with their number (`latency=0.8` 92.31, `latency=0.65` 88.80).

MobileNetV2, `depth:latency=0.89,quantize`: 3 merges, 0.875 of the time that INT8 alone takes, top-1 84.2 of 86.4 on 500
pictures that nothing was fitted to; `depth:blocks=2,collapse,quantize`: 0.860, 83.0. EfficientNet-Lite0, 448 pictures,
`depth:blocks=3,quantize`: 0.844, and 88.6 of 91.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ..compiler.costs.unknown import UnknownShape
from ..compiler.graph.block_pairs import BlockPair
from ..compiler.graph.copies import copy_graph
from ..compiler.graph.shapes import input_shapes
from ..compiler.pipeline.base import Decision, PassResult, WeightForm, last_decisions, option
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.registry import register
from ..compiler.report.formatting import counted
from ..runtime.lockstep import ROWS
from ..runtime.subsets import evenly, halves
from ..runtime.verify import random_feeds
from .budgets.budget import Budget, slack_notes
from .budgets.budgeted_pass import UNTOUCHED, BudgetedPass
from .budgets.costs import Costs
from .budgets.file_size import rewrite_within
from .budgets.search import BudgetSearch, TrialOutcome
from .depth_removal.gaps import Change, Gaps
from .depth_removal.losses import BATCH, LossMeter
from .depth_removal.order import Step, Trials
from .depth_removal.problem import DepthProblem
from .depth_removal.repair import Refit, refit, set_strength
from .depth_removal.strength import best_strength
from .depth_removal.trials import search_count

JUDGED = 128
HELD = 2**27
"""Bytes of activations that wait between two layers in RAM, by network, even where the run allows for more."""
SHOWN = ("latency", "macs", "params")
KEPT = "the budget is met without it"
NONE = "no block can be removed"
BLIND = "no data: which blocks go is measured on random inputs, and nothing makes up for them"


@register
@dataclass(frozen=True)
class Depth(BudgetedPass):
    """Remove whole blocks, merge pairs of residual blocks, and re-fit the layers around them.

    Left alone, with the reason in the report: blocks with projection shortcuts or inner tensors that others read, and
    those with a layer out of --include / --exclude. Only time is saved by merging: a budget of macs, params or bytes
    takes whole blocks. Budgets refer to the model that entered the pipeline; macs, params, bytes and latency may be
    given together.
    """

    name: ClassVar[str] = "depth"
    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))
    rules: ClassVar[tuple[str, ...]] = ("blocks",)

    blocks: int | None = option(None, "remove so many blocks, whatever they save", "[1, 65536]")
    layers: bool = option(False, "single layers among equal ones count as blocks, too")
    merge: bool = option(True, "two residual blocks in a row may become one wide block; not with blocks=")
    repair: Literal["refit", "none"] = option("refit", "what is fitted to the outputs of the network before")

    def weight_form(self, ctx: Context) -> WeightForm:
        return "float" if ctx.options.data is not None and self.repair == "refit" else "kept"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        result = PassResult()
        ctx = ctx.holding(HELD)
        budget = self._asked(graph, ctx, result.notes)
        search = self._search(budget, graph, ctx)
        problem = self.problem(graph, ctx, budget)
        result.decisions = problem.skipped()
        blocks = problem.blocks(problem.start)
        if not blocks:
            result.notes.append(NONE)
        steps: list[Step] = []
        if blocks and (budget.rule or budget.limits):
            data = ctx.data if search is None else search.fitting
            problem.trials = self._once(graph, ctx, data, lambda each: self.trials(problem, each, data, result.notes))
            steps = self._steps(problem, budget, search, result)
        elif budget.limits:
            problem.within(budget)
        shares = self._write(problem, budget, steps, result) if steps else problem.shares(problem.start)
        result.metrics.update({f"{unit}_kept": share for unit, share in shares.items()})
        result.notes += slack_notes(budget, shares, changed=bool(steps))
        gone = {decision.node for decision in decided(steps)}
        why = KEPT if budget.rule or budget.limits else UNTOUCHED
        result.decisions += [Decision(each.name, "kept", why) for each in blocks if each.name not in gone]
        result.decisions = last_decisions(result.decisions)
        return result

    def outlook(self, graph: gs.Graph, ctx: Context) -> Mapping[str, str]:
        """By the block's last node."""
        problem = self.problem(graph, ctx, self._asked(graph, ctx, []))
        found = {decision.node: f"skipped: {decision.reason}" for decision in problem.skipped()}
        for change in problem.changes(problem.start):
            if isinstance(change, BlockPair):
                found[change.second.name] += f", or merge with {change.first.name}"
            else:
                found[change.name] = f"its block of {counted(len(change.nodes), 'node')} may go"
        return found

    def problem(self, graph: gs.Graph, ctx: Context, budget: Budget) -> DepthProblem:
        """What may go; `trials` are needed before steps are taken."""
        pricing, merge = self._pricing(ctx, budget), self.merge and budget.rule != "blocks"
        try:
            return DepthProblem.of(graph, ctx, self.layers, merge, pricing)
        except UnknownShape:
            return DepthProblem.of(graph, ctx, self.layers, merge, None)

    def trials(self, problem: DepthProblem, graph: gs.Graph, data: Data | None, notes: list[str]) -> Trials:
        """Of the graph of the problem, or a copy: fitted to one half of the data and judged by the other."""
        return Trials(problem.changes, problem.shares, self._meter(graph, problem.ctx, data, notes))

    def _meter(self, graph: gs.Graph, ctx: Context, data: Data | None, notes: list[str]) -> LossMeter:
        if data is None:
            notes.append(BLIND)
            feeds = random_feeds(graph, ctx.rng(), input_shapes(graph, ctx.input_sizes()))
            return LossMeter(graph, ctx, None, [feeds], self.ridge)
        fitting, judging = halves(data)
        return LossMeter(
            graph,
            ctx,
            fitting if self.repair == "refit" else None,
            list(evenly(judging, JUDGED).batches(BATCH)),
            self.ridge,
        )

    def _steps(
        self, problem: DepthProblem, budget: Budget, search: BudgetSearch | None, result: PassResult
    ) -> list[Step]:
        """The blocks that go."""
        if search is None:
            return problem.within(budget)

        def judge(number: int) -> TrialOutcome:
            changes = [step.change for step in problem.steps[:number]]
            shares = problem.steps[number - 1].shares
            trial, _ = self.shortened(problem, changes, search.fitting, search.rows(ROWS))
            return search.judged(shares[budget.cost], shares["macs"], trial.graph)

        count, outcome = search_count(problem, budget, search, judge)
        self._record(outcome, result)
        return problem.steps[:count]

    def shorten(
        self, problem: DepthProblem, steps: Sequence[Step], graph: gs.Graph, ctx: Context, data: Data | None
    ) -> list[Decision]:
        """Make the steps, repaired, in `graph`: that of the problem, or a copy. What was decided."""
        gaps, fitted = self.shortened(problem, [step.change for step in steps], data)
        vars(graph).update(vars(gaps.graph))
        ctx.origins.update(gaps.origins)
        return [*decided(steps), *fitted]

    def shortened(
        self, problem: DepthProblem, changes: Sequence[Change], data: Data | None, rows: int = ROWS
    ) -> tuple[Gaps, list[Decision]]:
        """The network with the changes made and repaired; a decision for each layer that was fitted."""
        gaps, refits = self._repaired(problem, changes, data, rows)
        gaps.close()
        return gaps, [decision for each in refits for decision in each.decisions()]

    def _repaired(
        self, problem: DepthProblem, changes: Sequence[Change], data: Data | None, rows: int
    ) -> tuple[Gaps, Sequence[Refit]]:
        """What the layers were fitted to. Fits that the strength was found with are not made twice."""
        ctx, before, meter, gaps = problem.ctx, copy_graph(problem.graph), problem.meter, problem.after(changes)
        if self.repair == "none" or data is None or meter is None or not changes:
            return gaps, ()
        fitted: tuple[Gaps, Sequence[Refit]] | None = None
        if problem.strength is None:
            tried = problem.after(changes)
            problem.strength, found = best_strength(tried, before, ctx, meter, self.ridge)
            fitted = (tried, found) if data is meter.fitting and rows == ROWS else None
        if not problem.strength:
            return gaps, ()
        gaps, refits = fitted or (gaps, refit(gaps, before, ctx, data, self.ridge, rows))
        set_strength(gaps, refits, problem.strength)
        return gaps, refits

    def _write(self, problem: DepthProblem, budget: Budget, steps: list[Step], result: PassResult) -> Costs:
        """Into the graph; the shares left."""
        graph, ctx = problem.graph, problem.ctx
        kept = list(result.decisions)

        def attempt(limits: Budget) -> Costs:
            if limits != budget:
                steps[:] = problem.within(limits)
            result.decisions = [*kept, *self.shorten(problem, written(steps, ctx), graph, ctx, ctx.data)]
            return dict(steps[-1].shares)

        shares = rewrite_within(graph, ctx, budget, problem.original, attempt, self._weighing(ctx))
        result.changed = True
        result.metrics |= counts(steps)
        result.metrics["strength"] = problem.strength or 0.0
        return shares


def written(steps: Sequence[Step], ctx: Context) -> list[Step]:
    """Without those that would change a node that is held."""
    return [step for step in steps if ctx.held.isdisjoint(node.name for node in step.change.nodes)]


def counts(steps: Sequence[Step]) -> dict[str, float]:
    """As metrics."""
    merged = sum(isinstance(step.change, BlockPair) for step in steps)
    return {"blocks_removed": float(len(steps) - merged), "blocks_merged": float(merged)}


def decided(steps: Sequence[Step]) -> Iterator[Decision]:
    """What went, with what it lost and saved."""
    for step in steps:
        figures: dict[str, float | int | str] = {"lost": step.loss}
        figures |= {f"{unit}_saved": share for unit, share in step.saved.items() if unit in SHOWN}
        change = step.change
        gone = change.second if isinstance(change, BlockPair) else change
        yield Decision(gone.name, "removed", "; ".join(change.chain), figures)
        why = f"merged with {change.first.name}" if isinstance(change, BlockPair) else f"with the block of {gone.name}"
        yield from (Decision(node.name, "removed", why) for node in gone.nodes if node.name != gone.name)
