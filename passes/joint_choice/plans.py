"""A network made by a plan: blocks go and merge first, then layers get smaller, each repaired in lockstep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ...compiler.pipeline.base import PassResult
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..depth import Depth, counts, written
from ..depth_removal.order import Step
from ..depth_removal.problem import DepthProblem
from .ways import Way


@dataclass(frozen=True, eq=False)
class Plan:
    """What is done for a time.

    Attributes:
        steps: by which the network becomes shorter.
        sizes: ways in which layers then get smaller, one after the other, each with the share of the original's time
            that it reaches.
    """

    steps: Sequence[Step] = ()
    sizes: Sequence[tuple[Way, float]] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for plans that make the same network."""
        return (*(step.change.name for step in self.steps), *((way.name, share) for way, share in self.sizes))

    def __str__(self) -> str:
        words: list[str] = []
        if self.steps:
            removed, merged = counts(self.steps).values()
            left = self.steps[-1].shares["latency"]
            words = [f"{removed:.0f} blocks removed, {merged:.0f} merged: {left:.3g} of the time"]
        return ", ".join([*words, *(f"{way.name}: {share:.3g}" for way, share in self.sizes)])


@dataclass(frozen=True, eq=False)
class Builder:
    """Makes networks by plans.

    Attributes:
        problem: of `depth`.
    """

    depth: Depth
    problem: DepthProblem

    def write(self, plan: Plan, graph: gs.Graph, ctx: Context, data: Data | None) -> PassResult:
        """In place; `graph` is that of the problem, or a copy.

        Raises:
            BudgetUnreachable: layers cannot become small enough.
        """
        result = self._shortened(plan.steps, graph, ctx, data)
        for way, share in plan.sizes:
            found = way.write(graph, replace(ctx, data=data), share)
            graph.cleanup(recurse_subgraphs=False, recurse_functions=False)
            result.decisions += found.decisions
            result.metrics |= found.metrics
        return result

    def _shortened(self, steps: Sequence[Step], graph: gs.Graph, ctx: Context, data: Data | None) -> PassResult:
        result, made = PassResult(changed=True), written(steps, ctx)
        if not made:
            return result
        result.decisions = self.depth.shorten(self.problem, made, graph, ctx, data)
        result.metrics = counts(made)
        graph.cleanup(recurse_subgraphs=False, recurse_functions=False)
        return result
