"""The pass behind every decomposition: options, and the order of its steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_graphsurgeon as gs

from ...compiler.allocate import Choice
from ...compiler.base import Decision, Pass, PassResult, option
from ...compiler.context import Context, Data
from ...compiler.graph.convs import Conv
from .budget import DEFAULT_AGREEMENT, DEFAULT_ENERGY, Budget, choose
from .forms import Form
from .refit import Plan, write
from .search import smallest_in_agreement
from .survey import Request, Survey, survey


@dataclass(frozen=True)
class DecompositionPass(Pass):
    """Options that all decompositions have. Budgets refer to the Convs of the model that entered the pipeline."""

    macs: float | None = option(None, "keep at most this fraction of the multiply-accumulates")
    params: float | None = option(None, "keep at most this fraction of the Conv parameters")
    energy: float | None = option(None, "keep this fraction of every Conv's output energy (weight energy without data)")
    rank: int | float | None = option(None, "the same size for every Conv: a count, or a fraction of the full size")
    agreement: float | None = option(None, "as small as top-1 agreement with the original on held-out samples allows")
    align: int | Literal["target"] = option(1, "sizes are multiples of this; target: the engine's channel multiple")
    refit: Literal["lockstep", "none"] = option(
        "lockstep", "fit on the inputs of the compressed network, or the original's"
    )
    ridge: float = option(1e-3, "pull towards the stored weight, relative to the mean input energy")

    def __post_init__(self) -> None:
        self._given()
        if self.align != "target" and self.align < 1:
            raise ValueError(f"align={self.align}: expected a positive integer or target")
        if self.ridge <= 0:
            raise ValueError(f"ridge={self.ridge}: expected a positive number")

    @abstractmethod
    def forms(self) -> Sequence[Form]:
        """The forms to choose from."""

    @abstractmethod
    def check(self, conv: Conv) -> str | None:
        """Why this Conv is left alone, or None."""

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        notes: list[str] = []
        budget = self._budget(ctx, notes)
        align = ctx.target.int8_multiple if self.align == "target" else self.align
        request = Request(self.check, self.forms(), budget.unit, align, self.ridge)
        found = survey(graph, ctx, request)
        if not found.candidates:
            return PassResult(decisions=found.skipped, notes=[*notes, "no Conv can be rewritten"])
        decisions = self._rewrite(graph, ctx, found, budget, notes)
        return PassResult(
            changed=any(decision.action != "skipped" for decision in decisions),
            decisions=[*decisions, *found.skipped],
            notes=notes,
        )

    def _given(self) -> Budget | None:
        return Budget.of(
            macs=self.macs, params=self.params, energy=self.energy, rank=self.rank, agreement=self.agreement
        )

    def _budget(self, ctx: Context, notes: list[str]) -> Budget:
        given = self._given()
        if given is not None:
            return given
        if ctx.data is not None:
            return Budget("agreement", DEFAULT_AGREEMENT)
        notes.append(f"without data and without a budget, {DEFAULT_ENERGY:.0%} of every weight's energy is kept")
        return Budget("energy", DEFAULT_ENERGY)

    def _rewrite(
        self, graph: gs.Graph, ctx: Context, found: Survey, budget: Budget, notes: list[str]
    ) -> list[Decision]:
        def attempt(target: gs.Graph, size: Budget, data: Data | None) -> list[Decision]:
            chosen = choose(size, found.candidates, found.fixed(size.unit), getattr(found.original, size.unit))
            return write(target, ctx, self._plan(found, chosen), data)

        if budget.kind != "agreement":
            return attempt(graph, budget, ctx.data)
        macs = smallest_in_agreement(graph, ctx, budget.value, attempt, notes)
        return attempt(graph, Budget("macs", macs), ctx.data)

    def _plan(self, found: Survey, chosen: Sequence[Choice]) -> Plan:
        choices = {candidate.conv.name: choice for candidate, choice in zip(found.candidates, chosen, strict=True)}
        forms = {form.name: form for form in self.forms()}
        return Plan(choices, forms, found.shapes, self.refit == "lockstep", self.ridge)
