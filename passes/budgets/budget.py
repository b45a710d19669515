"""How small: the budget options of a pass.

A budget is either one or more limits (shares of what the original network costs, in macs, params, bytes, latency), or
one rule: `energy`, `rank` and `share` decide layer by layer, `agreement`, `accuracy_drop`, `error` and `metric_drop`
search for the smallest share of MACs (`search`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from ...compiler.errors import Unavailable

LIMITS = ("macs", "params", "bytes", "latency")
SEARCHED = ("agreement", "accuracy_drop", "error", "metric_drop")
DEFAULT_AGREEMENT, DEFAULT_ERROR, DEFAULT_DROP = 0.97, 0.1, 1.0
FREE = 1 - 1e-6
"""Of a layer's weight energy: what is lost is a hundredth of what rounding the weights to INT8 loses, and still little
where inputs are large in just that direction."""
NEAR = 0.01


class BudgetUnreachable(Unavailable):
    """A budget that even the smallest choices exceed."""


@dataclass(frozen=True)
class CostShares:
    """Costs as shares of the original's, by cost.

    Attributes:
        fixed: what the network costs beside what a pass chooses from.
        original: what the model that entered the pipeline costs.
    """

    fixed: Mapping[str, float]
    original: Mapping[str, float]

    def of(self, chosen: Mapping[str, float]) -> dict[str, float]:
        """The shares that are left with what is chosen at these costs."""
        return {unit: (self.fixed[unit] + cost) / max(self.original[unit], 1e-30) for unit, cost in chosen.items()}

    def left(self, limits: Mapping[str, float]) -> dict[str, float]:
        """What limits leave for what is chosen."""
        return {unit: share * self.original[unit] - self.fixed[unit] for unit, share in limits.items()}


@dataclass(frozen=True)
class Budget:
    """Limits by cost, or a rule and its value.

    Attributes:
        limits: at most this share of the original's cost, by cost.
        rule: "energy", "rank", "share", one of `SEARCHED`, or "" where limits are given.
        value: of the rule: `rank` is a fraction or a count, `accuracy_drop` points, `metric_drop` in the units of the
            user's metric, the others fractions.
        cost: of a rule: what every rewrite has to save, and a search makes small.
        worth: of a rule: the share of that cost that all rewrites together have to save; with less, none is done.
    """

    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    rule: str = ""
    value: float = 0.0
    cost: str = "macs"
    worth: float = 0.0

    @staticmethod
    def of(**options: float | None) -> Budget | None:
        """What is given, None where nothing is; `ValueError` on what cannot be combined."""
        given = {name: value for name, value in options.items() if value is not None}
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
        return tuple(self.limits) or (self.cost,)

    def __str__(self) -> str:
        if self.rule:
            return f"{_spelled(self.rule)}={self.value:g}"
        return ":".join(f"{unit}={share:g}" for unit, share in self.limits.items())


def slack_notes(budget: Budget, kept: Mapping[str, float], changed: bool = True) -> list[str]:
    """A sentence where nothing had to change, or no limit is used to within `NEAR`; `kept` are the shares reached."""
    reached = ", ".join(f"{unit}={kept[unit]:.3f}" for unit in budget.limits)
    if not budget.limits:
        return []
    if not changed:
        return [f"{budget} is met before this pass, by {reached}: it changes nothing"]
    if any(kept[unit] >= share * (1 - NEAR) for unit, share in budget.limits.items()):
        return []
    return [f"{budget} is met by {reached}: no sizes come nearer from below"]


def unreachable(budget: Budget, smallest: str, shares: Mapping[str, float], remark: str = "") -> BudgetUnreachable:
    """The error; `shares`, by cost, are the nearest that can be met, `smallest` and `remark` what is known of them."""
    nearest = ", ".join(f"{unit}={ceil(1000 * share - 1e-6) / 1000:.3f}" for unit, share in shares.items())
    return BudgetUnreachable(f"{budget} cannot be reached", "budget", f"the smallest {smallest} is {nearest}{remark}")


def _spelled(name: str) -> str:
    return name.replace("_", "-")
