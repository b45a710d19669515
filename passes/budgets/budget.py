"""How small: the budget options of a pass.

A budget is either one or more limits (shares of what the original network costs, in macs, params, bytes, latency), or
one rule: `energy`, `rank` and `share` decide layer by layer, `agreement`, `accuracy_drop`, `error` and `metric_drop`
search for the smallest share of MACs (`search`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, inf

from ...compiler.errors import Unavailable

LIMITS = ("macs", "params", "bytes", "latency")
SEARCHED = ("agreement", "accuracy_drop", "error", "metric_drop")
DEFAULT_AGREEMENT, DEFAULT_ERROR, DEFAULT_DROP = 0.97, 0.1, 1.0
DEFAULT_ENERGY = 0.99
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


def _check(name: str, value: float) -> None:
    if name == "metric_drop":
        if not 0 <= value < inf:
            raise ValueError(f"metric-drop={value}: expected 0 or more, in the units of the metric")
        return
    if name == "accuracy_drop":
        if not 0 <= value <= 100:
            raise ValueError(f"accuracy-drop={value}: expected points of top-1, 0 to 100")
        return
    counted = name == "rank" and isinstance(value, int)
    if not (value >= 1 if counted else 0 < value <= 1):
        raise ValueError(f"{name}={value}: expected a fraction above 0, at most 1{' or a count' * (name == 'rank')}")


def _spelled(name: str) -> str:
    return name.replace("_", "-")
