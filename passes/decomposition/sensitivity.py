"""The projections of a Conv that its sensitivity is measured with: they lose about `LEVELS` of its energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...compiler.graph.convs import Conv
from ..budgets.allocate import Choice
from ..projection.fit import Fit, total_signal
from ..sensitivity.measure import LEAST, LEVELS, Trial
from .forms import Form


def trials(conv: Conv, fits: Sequence[Fit], choices: Sequence[Choice], forms: Mapping[str, Form]) -> list[Trial]:
    """`choices`: those that are not dense."""
    tried = [forms[choice.form].project(conv, fits, choice.size).dense for choice in _nearest(choices)]
    return [(_lost(fits, dense), dense) for dense in tried]


def _nearest(choices: Sequence[Choice]) -> list[Choice]:
    """The choices that lose about `LEVELS`, the cheaper of two forms."""

    def distance(choice: Choice, level: float) -> tuple[float, float]:
        return round(abs(float(np.log(max(choice.error, LEAST) / level))), 1), choice.costs["macs"]

    nearest = [min(choices, key=lambda choice: distance(choice, level)) for level in LEVELS]
    return list({(choice.form, choice.size): choice for choice in nearest}.values())


def _lost(fits: Sequence[Fit], dense: Sequence[np.ndarray]) -> float:
    lost = sum(fit.lost(weight) for fit, weight in zip(fits, dense, strict=True))
    return lost / total_signal(fits)
