"""What stays in float without a budget, where INT8 in all layers breaks the network.

No layer alone may lose much (`in_float`), and the outputs be far off all the same: what is lost adds up on the way, and
what a detector looks for is rare. Where the error of the outputs is above `BROKEN`, as few layers stay in float as
bring it down to `ENOUGH` (`mixed_precision`), but no more than give back a share of `GIVEN_BACK` of the time that INT8
saves; none where that does not halve the error.

YOLOv8n of NudeNet 3.4.2, 320 x 320, 96 photos (none of which shows what it looks for), error on 24 others: 0.364 with
all in INT8, 0.104 with 21 of 64 layers in float, 2.47 and 2.52 ms by the estimate for the Xavier. Where it finds
something, scores are 0.027 off instead of 0.065, of 0.39 on the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...compiler.report.formatting import counted
from ...runtime.quality.judge import SampleJudge
from ...runtime.subsets import evenly
from ..budgets.search import BudgetSearch
from .mixed_precision import Leaving, Outcome, fewest_in_float
from .quantizer import Quantizer
from .time_saved import time_saved

BROKEN, ENOUGH = 0.25, 0.1
GIVEN_BACK = 0.25
WORTH = 0.5
"""The share of the error that may be left: for less gain nothing is given back."""
JUDGED = 16
"""Samples."""
HINT = "error of the outputs by INT8 {:.2g}: quantize:error=0.1, or metric-drop= with your own metric, lowers it"
REASON = "stays in float: INT8 in all layers breaks the network, here alone it costs {:.2g} of the outputs (noise=)"


@dataclass(frozen=True, eq=False)
class Mended:
    """Attributes:
    error: with all layers in INT8.
    outcome: with some in float; None where the network is not broken, or not much better so.
    """

    error: float
    outcome: Outcome | None = None

    def reasons(self) -> dict[str, str]:
        """By layer that stays in float."""
        if self.outcome is None:
            return {}
        return {name: REASON.format(self.outcome.divergences[name]) for name in self.outcome.in_float}

    def notes(self) -> list[str]:
        """What was done, or what may be asked for."""
        if self.outcome is None:
            return [HINT.format(self.error)] if self.error > ENOUGH else []
        in_float, left = self.outcome.in_float, self.outcome.judged.loss
        layers, cost = counted(len(in_float), "layer"), self.outcome.saved.cost(in_float)
        broke = f"INT8 in all would break the network: error {self.error:.2g}, now {left:.2g}"
        return [f"{layers} left in float{cost}, since {broke}; noise=1 quantizes all"]


def mended(quantizer: Quantizer, layers: Sequence[gs.Node]) -> Mended:
    """Of rounded `layers`."""
    ctx = quantizer.ctx
    data = ctx.judging or ctx.data
    if data is None or not layers:
        return Mended(0.0)
    judge = SampleJudge.of(quantizer.graph, evenly(data, JUDGED), "error")
    broken = judge.judge(quantizer.written({node.name for node in layers}))
    if broken.held <= BROKEN:
        return Mended(broken.loss)
    leaving = Leaving.of(quantizer, layers, time_saved(quantizer), JUDGED).within(GIVEN_BACK)
    outcome = fewest_in_float(quantizer, layers, leaving, BudgetSearch("error", ENOUGH, ctx.data, judge))
    return Mended(broken.loss, outcome if outcome.judged.held <= WORTH * broken.held else None)
