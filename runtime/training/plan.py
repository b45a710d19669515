"""How many steps fit into a number of minutes: a few are timed before training begins.

    steps = (SAFE * 60 minutes - spent - judging * (rounds + 1)) / seconds of a step

The time of a step is the median of `TIMED`, after one that warms up; nothing is learned from them. A run of so many
steps can be repeated, byte by byte, where one that ends with the time cannot. Where the machine gets slower on the way
the minutes end it all the same (`training.loop`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import monotonic

TIMED, SAFE = 5, 0.97


@dataclass(frozen=True)
class Plan:
    """Attributes:
    steps: that fit, one at least.
    seconds: of one.
    """

    steps: int
    seconds: float


def plan_steps(
    minutes: float,
    rounds: int,
    step: Callable[[], object],
    judge: Callable[[], object],
    clock: Callable[[], float] = monotonic,
) -> Plan:
    """See the module docstring.

    Args:
        rounds: how often the network is judged on the way.
        step: takes one; judge: judges once.
    """
    begun = clock()
    step()
    each = median(_seconds(step, clock) for _ in range(TIMED))
    judging = _seconds(judge, clock)
    left = 60 * SAFE * minutes - (clock() - begun) - judging * (rounds + 1)
    return Plan(max(int(left / max(each, 1e-9)), 1), each)


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun
