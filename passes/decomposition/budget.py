"""How small: the budget options of a decomposition, and the choice of a size per Conv that meets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...compiler.allocate import Choice, allocate
from ...compiler.errors import CompressError
from ...compiler.graph.convs import Conv

Kind = Literal["macs", "params", "energy", "rank", "agreement"]
Unit = Literal["macs", "params"]
DEFAULT_AGREEMENT = 0.97
DEFAULT_ENERGY = 0.99


class Unreachable(CompressError):
    """A budget that even the smallest choices exceed."""


@dataclass(frozen=True)
class Budget:
    """One option and its value: `rank` is a fraction or a count, the others are fractions."""

    kind: Kind
    value: float

    @staticmethod
    def of(**options: float | None) -> Budget | None:
        """The one option that is given, None where none is; `ValueError` on two, or on a value out of range."""
        given = {name: value for name, value in options.items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given: expected one budget")
        for name, value in given.items():
            counted = name == "rank" and isinstance(value, int)
            if not (value >= 1 if counted else 0 < value <= 1):
                raise ValueError(
                    f"{name}={value}: expected a fraction above 0, at most 1{' or a count' * (name == 'rank')}"
                )
            return Budget(name, value)  # pyright: ignore[reportArgumentType]
        return None

    @property
    def unit(self) -> Unit:
        """What a choice costs under this budget."""
        return "params" if self.kind == "params" else "macs"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A Conv that may be rewritten: `choices[0]` leaves it dense, the others are cheaper.

    Errors are relative: output energy lost over output variance.
    """

    conv: Conv
    choices: Sequence[Choice]
    limits: dict[str, int]

    @property
    def dense(self) -> Choice:
        return self.choices[0]


def choose(budget: Budget, candidates: Sequence[Candidate], fixed: float, original: float) -> list[Choice]:
    """A choice per candidate.

    Args:
        fixed: cost, in the budget's unit, of the Convs that are not candidates.
        original: cost of the model that entered the pipeline.

    Raises:
        Unreachable: the budget cannot be met; names the nearest that can.
    """
    if budget.kind == "energy":
        return [_within(candidate, 1 - budget.value) for candidate in candidates]
    if budget.kind == "rank":
        return [_of_rank(candidate, budget.value) for candidate in candidates]
    chosen = allocate([candidate.choices for candidate in candidates], budget.value * original - fixed)
    if chosen is not None:
        return chosen
    smallest = (fixed + sum(min(c.cost for c in candidate.choices) for candidate in candidates)) / original
    raise Unreachable(
        f"{budget.unit}={budget.value:g} cannot be reached", "budget", f"the smallest possible is {smallest + 5e-4:.3f}"
    )


def _within(candidate: Candidate, error: float) -> Choice:
    """The cheapest choice that loses no more than `error`."""
    return min((c for c in candidate.choices if c.error <= error), key=lambda choice: (choice.cost, choice.error))


def _of_rank(candidate: Candidate, value: float) -> Choice:
    """The best of the forms at that size; dense where the size is not cheaper."""

    def size(form: str) -> int:
        return value if isinstance(value, int) else max(1, round(value * candidate.limits[form]))

    fitting = [choice for choice in candidate.choices[1:] if choice.size == size(choice.form)]
    return min(fitting, key=lambda choice: choice.error, default=candidate.dense)
