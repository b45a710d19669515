"""The learning rate over a run: a linear warm-up, then a cosine, steps, or nothing.

    cosine     r (1 + cos(pi u)) / 2            u: share of the run after the warm-up, 0 to 1
    step       r 0.1^k                          k: quarters that lie behind (the basis paper: epochs 30, 60, 90 of 120)
    constant   r

Source of the cosine: Loshchilov and Hutter, ICLR 2017 (arXiv 1608.03983), without restarts.
"""

from __future__ import annotations

from math import cos, pi
from typing import Literal

Schedule = Literal["cosine", "step", "constant"]
MILESTONES, FACTOR = (0.25, 0.5, 0.75), 0.1


def rate_factor(schedule: Schedule, done: float, warmup: float) -> float:
    """What the rate is multiplied with after the share `done` of the run; `warmup`: the share it rises over."""
    if done < warmup:
        return done / warmup
    after = min((done - warmup) / max(1 - warmup, 1e-9), 1.0)
    if schedule == "cosine":
        return (1 + cos(pi * after)) / 2
    if schedule == "step":
        return FACTOR ** sum(after >= milestone for milestone in MILESTONES)
    return 1.0
