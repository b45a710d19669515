"""The Convs that a decomposition may rewrite, and the choice of a form and size for each that meets a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...compiler.graph.convs import Conv
from ...compiler.pipeline.traces import ErrorCurve, thinned
from ..budgets.allocate import Choice, allocate, cheapest
from ..budgets.budget import Budget, CostShares, unreachable
from ..projection.fit import Fit, total_signal
from ..sensitivity.measure import LEAST, LEVELS, Trial
from .forms import Form


@dataclass(frozen=True, eq=False)
class RewriteCandidate:
    """A Conv that may be rewritten: `choices[0]` leaves it dense, the others are cheaper.

    Attributes:
        choices: with relative errors: output energy lost over output variance.
        forms: by the name that a choice has.
        gain: what a unit of this Conv's error counts in the division of the budget.
        only: the choice that has been made for it, whatever the budget.
    """

    conv: Conv
    choices: Sequence[Choice]
    forms: Mapping[str, Form]
    gain: float = 1.0
    only: Choice | None = None

    def narrowed(self, rank: float | None = None, energy: float | None = None) -> RewriteCandidate:
        """With the choice made that the options of a pass would make for this Conv, if there are any."""
        if rank is None and energy is None:
            return self
        return replace(self, only=_of_rank(self, rank) if rank is not None else _within(self, 1 - (energy or 0.0)))

    @property
    def dense(self) -> Choice:
        return self.choices[0]

    def trials(self, fits: Sequence[Fit]) -> list[Trial]:
        """The projections that its sensitivity is measured with, and the energy they lose against the best weight."""
        pairs = ((self.forms[choice.form], choice.size) for choice in _of_levels(self.choices[1:]))
        weights = [form.project(self.conv, fits, size).dense for form, size in pairs]
        lost = [sum(fit.lost(w) for fit, w in zip(fits, dense, strict=True)) for dense in weights]
        return [(energy / total_signal(fits), dense) for energy, dense in zip(lost, weights, strict=True)]

    def curves(self) -> Iterator[ErrorCurve]:
        """For the report: the choices of each form, where their MACs are known."""
        if "macs" not in self.dense.costs:
            return
        for form in dict.fromkeys(choice.form for choice in self.choices[1:]):
            every = sorted((each for each in self.choices[1:] if each.form == form), key=lambda each: each.size)
            shown = [every[index] for index in thinned(len(every))]
            yield ErrorCurve(
                node=self.conv.name,
                form=form,
                sizes=tuple(each.size for each in shown),
                macs=tuple(int(each.costs["macs"]) for each in shown),
                errors=tuple(float(f"{each.error:.4g}") for each in shown),
                dense=int(self.dense.costs["macs"]),
            )


def choose(budget: Budget, candidates: Sequence[RewriteCandidate], shares: CostShares) -> list[Choice]:
    """A choice per candidate; `BudgetUnreachable`, naming the nearest that can be met, where there is none."""
    if budget.rule == "energy":
        return [each.only or _within(each, 1 - budget.value) for each in candidates]
    if budget.rule == "rank":
        return [each.only or _of_rank(each, budget.value) for each in candidates]
    layers = [each.choices if each.only is None else [each.only] for each in candidates]
    chosen = allocate(layers, shares.left(budget.limits), [candidate.gain for candidate in candidates])
    if chosen is None:
        least = shares.of({unit: cheapest(layers, unit) for unit in budget.limits})
        over = {unit: share for unit, share in least.items() if share > budget.limits[unit]}
        raise unreachable(budget, "possible", over or least, "" if over else ", each alone")
    return chosen


def _within(candidate: RewriteCandidate, error: float) -> Choice:
    """The cheapest choice that loses no more than `error`."""
    allowed = (choice for choice in candidate.choices if choice.error <= error)
    return min(allowed, key=lambda choice: (choice.work, choice.error))


def _of_rank(candidate: RewriteCandidate, value: float) -> Choice:
    """The best of the forms at that size; dense where the size is not cheaper."""

    def size(form: str) -> int:
        return value if isinstance(value, int) else max(1, round(value * candidate.forms[form].limit(candidate.conv)))

    fitting = [choice for choice in candidate.choices[1:] if choice.size == size(choice.form)]
    return min(fitting, key=lambda choice: choice.error, default=candidate.dense)


def _of_levels(choices: Sequence[Choice]) -> list[Choice]:
    """The choices that lose about `LEVELS`, the cheaper of two forms."""

    def distance(choice: Choice, level: float) -> tuple[float, float]:
        return round(abs(float(np.log(max(choice.error, LEAST) / level))), 1), choice.work

    nearest = [min(choices, key=lambda choice: distance(choice, level)) for level in LEVELS]
    return list({(choice.form, choice.size): choice for choice in nearest}.values())
