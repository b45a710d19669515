"""What ways to save time lose, further and further, and how a saving is divided over them.

With the losses l_w(s) of the ways w, each saving s of the original's time,

    minimise sum_w l_w(s_w)    subject to    sum_w s_w >= what is to be saved

Each way goes as far as the next saving loses less than the price at which the savings meet what is wanted, the
multiplier of the constraint (`budgets.knapsack`).

Losses are divergences at the outputs, foreseen: those of blocks before the whole network is repaired, those of filters
as sums over layers. What a network made of one way alone lost, over what was foreseen, is the `scale` of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..budgets.allocate import Choice, allocate
from ..budgets.budget import BudgetUnreachable

LEAST = 1e-9
ROUNDING = 1e-9
POINTS = 12


@dataclass(frozen=True)
class SavingPath:
    """One way, from nothing to as far as it goes.

    Attributes:
        saved: shares of the original's time, by point, 0 first, rising.
        lost: foreseen, by point.
        scale: what is lost, over what is foreseen.
    """

    saved: Sequence[float]
    lost: Sequence[float]
    scale: float = 1.0

    def at(self, saved: float) -> float:
        """What a saving loses, between the points."""
        return self.scale * float(np.interp(saved, self.saved, self.lost))


def divided(paths: Sequence[SavingPath], wanted: float) -> list[int] | None:
    """The point of each path, so that they save what is wanted and lose least; None where all save too little."""
    layers = [
        [Choice({"latency": 1 - saved}, path.at(saved), size) for size, saved in enumerate(path.saved)]
        for path in paths
    ]
    chosen = allocate(layers, {"latency": len(paths) - wanted + ROUNDING})
    return None if chosen is None else [choice.size for choice in chosen]


def drawn(now: float, least: float, at: Callable[[float], tuple[float, float]]) -> SavingPath:
    """Through `POINTS` shares of the time; `at` says for each what is left in fact, and what is lost."""
    found: dict[float, float] = {0.0: 0.0}
    for share in _spread(now, least):
        with suppress(BudgetUnreachable):
            left, lost = at(share)
            found[now - left] = lost
    saved = sorted(found)
    lost = np.maximum.accumulate([found[each] for each in saved])
    return SavingPath(saved, [float(each) for each in lost])


def _spread(now: float, least: float) -> Iterable[float]:
    return (float(share) * (1 + 1e-9) for share in np.linspace(now, least, POINTS + 1)[1:])
