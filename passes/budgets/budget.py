"""How small: the budget options of a decomposition, and the choice of a size per Conv that meets them.

A budget is either one or more limits (shares of what the original network costs, in macs, params, bytes, latency), or
one rule: `energy` and `rank` decide Conv by Conv, `agreement` and `accuracy_drop` search for the smallest share of MACs
(`search`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from ...compiler.errors import Unavailable
from ...compiler.graph.convs import Conv
from ...compiler.pipeline.traces import ErrorCurve, thinned
from .allocate import Choice, allocate, cheapest

LIMITS = ("macs", "params", "bytes", "latency")
SEARCHED = ("agreement", "accuracy_drop")
DEFAULT_AGREEMENT = 0.97
DEFAULT_ENERGY = 0.99
NEAR = 0.01


class BudgetUnreachable(Unavailable):
    """A budget that even the smallest choices exceed."""


@dataclass(frozen=True)
class Budget:
    """Limits by cost, or a rule and its value.

    Attributes:
        limits: at most this share of the original's cost, by cost.
        rule: "energy", "rank", "agreement", "accuracy_drop", or "" where limits are given.
        value: of the rule: `rank` is a fraction or a count, `accuracy_drop` points, the others fractions.
    """

    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    rule: str = ""
    value: float = 0.0

    @staticmethod
    def of(**options: float | None) -> Budget | None:
        """What is given, None where nothing is; `ValueError` on what cannot be combined or is out of range."""
        given = {name: value for name, value in options.items() if value is not None}
        for name, value in given.items():
            _check(name, value)
        rules = [name for name in given if name not in LIMITS]
        if rules and len(given) > 1:
            names = " and ".join(_spelled(name) for name in given)
            raise ValueError(f"{names} are given: expected one budget, or several of {', '.join(LIMITS)}")
        if rules:
            return Budget(rule=rules[0], value=given[rules[0]])
        return Budget(given) if given else None

    @property
    def units(self) -> tuple[str, ...]:
        """The costs of which a rewrite has to save one."""
        return tuple(self.limits) or ("macs",)

    def __str__(self) -> str:
        if self.rule:
            return f"{_spelled(self.rule)}={self.value:g}"
        return ":".join(f"{unit}={share:g}" for unit, share in self.limits.items())


@dataclass(frozen=True, eq=False)
class RewriteCandidate:
    """A Conv that may be rewritten: `choices[0]` leaves it dense, the others are cheaper.

    Attributes:
        choices: with relative errors: output energy lost over output variance.
        limits: the size at which a form holds every weight, by form.
        gain: what a unit of this Conv's error counts in the division of the budget.
        only: the choice that has been made for it, whatever the budget.
    """

    conv: Conv
    choices: Sequence[Choice]
    limits: Mapping[str, int]
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
        Unreachable: the budget cannot be met; names the nearest that can.
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


def slack_notes(budget: Budget, kept: Mapping[str, float]) -> list[str]:
    """A sentence where no limit is used to within `NEAR`; `kept` are the shares reached."""
    if not budget.limits or any(kept[unit] >= share * (1 - NEAR) for unit, share in budget.limits.items()):
        return []
    reached = ", ".join(f"{unit}={kept[unit]:.3f}" for unit in budget.limits)
    return [f"{budget} is met by {reached}: no sizes come nearer from below"]


def _unreachable(
    budget: Budget, layers: Sequence[Sequence[Choice]], fixed: Mapping[str, float], original: Mapping[str, float]
) -> BudgetUnreachable:
    least = {unit: (fixed[unit] + cheapest(layers, unit)) / original[unit] for unit in budget.limits}
    over = {unit: share for unit, share in least.items() if share > budget.limits[unit]}
    nearest = ", ".join(f"{unit}={ceil(1000 * share - 1e-6) / 1000:.3f}" for unit, share in (over or least).items())
    each = "" if over else ", each alone"
    return BudgetUnreachable(f"{budget} cannot be reached", "budget", f"the smallest possible is {nearest}{each}")


def _check(name: str, value: float) -> None:
    if name == "accuracy_drop":
        if not 0 <= value <= 100:
            raise ValueError(f"accuracy-drop={value}: expected points of top-1, 0 to 100")
        return
    counted = name == "rank" and isinstance(value, int)
    if not (value >= 1 if counted else 0 < value <= 1):
        raise ValueError(f"{name}={value}: expected a fraction above 0, at most 1{' or a count' * (name == 'rank')}")


def _spelled(name: str) -> str:
    return name.replace("_", "-")


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
        return value if isinstance(value, int) else max(1, round(value * candidate.limits[form]))

    fitting = [choice for choice in candidate.choices[1:] if choice.size == size(choice.form)]
    return min(fitting, key=lambda choice: choice.error, default=candidate.dense)
