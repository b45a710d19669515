"""How small: the budget options of a pass.

A budget is either one or more limits (shares of what the original network costs, in macs, params, bytes, latency), or
one rule: `energy`, `rank` and `share` decide layer by layer, `agreement`, `accuracy_drop`, `error` and `metric_drop`
search for the smallest share of the time, or of another cost (`search`).

A limit of time may be in milliseconds: it is a share as soon as it is known what the original takes (`Budget.against`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from ...compiler.errors import Unavailable
from ...compiler.pipeline.milliseconds import Milliseconds

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
        ms: of a limit of time that is given in milliseconds.
        whole_ms: what the original takes, where that is known and the limit is in milliseconds.
    """

    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    rule: str = ""
    value: float = 0.0
    cost: str = "macs"
    worth: float = 0.0
    ms: float = 0.0
    whole_ms: float = 0.0

    @staticmethod
    def of(**options: float | Milliseconds | None) -> Budget | None:
        """What is given, None where nothing is; `ValueError` on what cannot be combined."""
        times = {name: value.value for name, value in options.items() if isinstance(value, Milliseconds)}
        shares = {name: value for name, value in options.items() if not isinstance(value, Milliseconds)}
        given = {name: value for name, value in {**shares, **dict.fromkeys(times, 1.0)}.items() if value is not None}
        rules = [name for name in given if name not in LIMITS]
        if rules and len(given) > 1:
            names = " and ".join(_spelled(name) for name in given)
            raise ValueError(f"{names} are given: expected one budget, or several of {', '.join(LIMITS)}")
        if rules:
            return Budget(rule=rules[0], value=given[rules[0]])
        return Budget(given, ms=sum(times.values())) if given else None

    def against(self, whole_ms: float) -> Budget:
        """With its limit of time as a share of what the original takes, where it is given in milliseconds."""
        if not self.ms:
            return self
        return replace(self, limits={**self.limits, "latency": self.ms / whole_ms}, whole_ms=whole_ms)

    @property
    def units(self) -> tuple[str, ...]:
        """The costs of which a rewrite has to save one."""
        return tuple(self.limits) or (self.cost,)

    def __str__(self) -> str:
        if self.rule:
            return f"{_spelled(self.rule)}={self.value:g}"
        limits = {**self.limits, "latency": str(Milliseconds(self.ms))} if self.ms else self.limits
        return ":".join(
            f"{unit}={share if isinstance(share, str) else format(share, 'g')}" for unit, share in limits.items()
        )

    def shown(self, unit: str, share: float) -> str:
        """A share of a cost, as a limit of it is given."""
        if unit == "latency" and self.whole_ms:
            return f"latency={share * self.whole_ms:.3f}ms"
        return f"{unit}={share:.3f}"


def slack_notes(budget: Budget, kept: Mapping[str, float], changed: bool = True) -> list[str]:
    """A sentence where nothing had to change, or no limit is used to within `NEAR`; `kept` are the shares reached."""
    if not budget.limits:
        return []
    reached = ", ".join(budget.shown(unit, kept[unit]) for unit in budget.limits)
    if not changed:
        return [f"{budget} is met before this pass, by {reached}: it changes nothing"]
    if any(kept[unit] >= share * (1 - NEAR) for unit, share in budget.limits.items()):
        return []
    return [f"{budget} is met by {reached}: no sizes come nearer from below"]


def unreachable(budget: Budget, smallest: str, shares: Mapping[str, float], remark: str = "") -> BudgetUnreachable:
    """The error; `shares`, by cost, are the nearest that can be met, `smallest` and `remark` what is known of them."""
    nearest = ", ".join(budget.shown(unit, _rounded_up(share, budget, unit)) for unit, share in shares.items())
    return BudgetUnreachable(f"{budget} cannot be reached", "budget", f"the smallest {smallest} is {nearest}{remark}")


def _rounded_up(share: float, budget: Budget, unit: str) -> float:
    """To three places of what is shown: what is named as the nearest can be met."""
    scale = budget.whole_ms if unit == "latency" and budget.whole_ms else 1.0
    return ceil(1000 * share * scale - 1e-6) / 1000 / scale


def _spelled(name: str) -> str:
    return name.replace("_", "-")
