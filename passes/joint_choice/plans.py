"""A network made by a plan: blocks go and merge first, then filters go, each repaired in lockstep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ...compiler.graph.block_pairs import BlockPair
from ...compiler.pipeline.base import PassResult
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..depth import Depth, decided
from ..depth_removal.order import Step
from ..depth_removal.problem import DepthProblem
from ..prune import Prune


@dataclass(frozen=True, eq=False)
class Plan:
    """What is done for a time.

    Attributes:
        share: of the original's time.
        steps: by which the network becomes shorter.
        prunes: filters go until the time is met.
    """

    share: float
    steps: Sequence[Step] = ()
    prunes: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        return (self.share, self.prunes, *(step.change.name for step in self.steps))

    def __str__(self) -> str:
        merged = sum(isinstance(step.change, BlockPair) for step in self.steps)
        words = [f"{len(self.steps) - merged} blocks removed, {merged} merged"] if self.steps else []
        return ", ".join([*words, *(["filters pruned"] if self.prunes else [])]) or "nothing"


@dataclass(frozen=True, eq=False)
class Builder:
    """Makes networks by plans.

    Attributes:
        problem: of `depth`.
        prune: the pass for a share of the time.
    """

    depth: Depth
    problem: DepthProblem
    prune: Callable[[float], Prune]

    def write(self, plan: Plan, graph: gs.Graph, ctx: Context, data: Data | None) -> PassResult:
        """In place; `graph` is that of the problem, or a copy.

        Raises:
            BudgetUnreachable: too few filters can go.
        """
        result, steps = PassResult(changed=True), [step for step in plan.steps if _free(step, ctx)]
        if steps:
            gaps, fitted = self.depth.shortened(self.problem, [step.change for step in steps], data)
            vars(graph).update(vars(gaps.graph))
            graph.cleanup(recurse_subgraphs=False, recurse_functions=False)
            ctx.origins.update(gaps.origins)
            result.decisions = [*decided(steps), *fitted]
            merged = sum(isinstance(step.change, BlockPair) for step in steps)
            result.metrics = {"blocks_removed": float(len(steps) - merged), "blocks_merged": float(merged)}
        return _joined(result, self._pruned(plan.share, graph, ctx, data)) if plan.prunes else result

    def _pruned(self, share: float, graph: gs.Graph, ctx: Context, data: Data | None) -> PassResult:
        inner = replace(ctx, data=data)
        return self.prune(share).run(graph, inner)


def _free(step: Step, ctx: Context) -> bool:
    return ctx.held.isdisjoint(node.name for node in step.change.nodes)


def _joined(first: PassResult, second: PassResult) -> PassResult:
    return PassResult(True, [*first.decisions, *second.decisions], {**first.metrics, **second.metrics}, second.notes)
