"""The Convs that a decomposition may rewrite, and the choice of a form and size for each that meets a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...compiler.graph.convs import Conv
from ...compiler.pipeline.traces import ErrorCurve, thinned
from ..budgets.allocate import Choice, allocate, cheapest
from ..budgets.budget import Budget, BudgetUnreachable, unreachable
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

    @property
    def open(self) -> Sequence[Choice]:
        """What a budget may choose from."""
        return self.choices if self.only is None else [self.only]

    def narrowed(self, rank: float | None = None, energy: float | None = None) -> RewriteCandidate:
        """With the choice made that the options of a pass would make for this Conv, if there are any."""
        if rank is None and energy is None:
            return self
        return replace(self, only=_of_rank(self, rank) if rank is not None else _within(self, 1 - (energy or 0.0)))

    @property
    def dense(self) -> Choice:
        return self.choices[0]

    def curves(self) -> Iterator[ErrorCurve]:
        """For the report: the choices of each form."""
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


def choose(
    budget: Budget,
    candidates: Sequence[RewriteCandidate],
    fixed: Mapping[str, float],
    original: Mapping[str, float],
) -> list[Choice]:
    """A choice per candidate.

    Args:
        fixed: what the network costs beside the candidates, by cost.
        original: what the model that entered the pipeline costs.

    Raises:
        BudgetUnreachable: the budget cannot be met; names the nearest that can.
    """
    if budget.rule == "energy":
        return [_within(candidate, 1 - budget.value) for candidate in candidates]
    if budget.rule == "rank":
        return [_of_rank(candidate, budget.value) for candidate in candidates]
    layers = [candidate.open for candidate in candidates]
    left = {unit: share * original[unit] - fixed[unit] for unit, share in budget.limits.items()}
    chosen = allocate(layers, left, [candidate.gain for candidate in candidates])
    if chosen is None:
        raise _unreachable(budget, layers, fixed, original)
    return chosen


def _unreachable(
    budget: Budget, layers: Sequence[Sequence[Choice]], fixed: Mapping[str, float], original: Mapping[str, float]
) -> BudgetUnreachable:
    least = {unit: (fixed[unit] + cheapest(layers, unit)) / original[unit] for unit in budget.limits}
    over = {unit: share for unit, share in least.items() if share > budget.limits[unit]}
    return unreachable(budget, "possible", over or least, "" if over else ", each alone")


def _within(candidate: RewriteCandidate, error: float) -> Choice:
    """The cheapest choice that loses no more than `error`."""
    if candidate.only is not None:
        return candidate.only
    allowed = (choice for choice in candidate.choices if choice.error <= error)
    return min(allowed, key=lambda choice: (choice.costs["macs"], choice.error))


def _of_rank(candidate: RewriteCandidate, value: float) -> Choice:
    """The best of the forms at that size; dense where the size is not cheaper."""
    if candidate.only is not None:
        return candidate.only

    def size(form: str) -> int:
        return value if isinstance(value, int) else max(1, round(value * candidate.forms[form].limit(candidate.conv)))

    fitting = [choice for choice in candidate.choices[1:] if choice.size == size(choice.form)]
    return min(fitting, key=lambda choice: choice.error, default=candidate.dense)
