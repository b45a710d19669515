"""What stays in float without a budget, where INT8 in all layers breaks the network.

No layer alone may lose much (`in_float`), and the outputs be far off all the same: what is lost adds up on the way, and
what a detector looks for is rare. Where more is lost than `BROKEN`, layers stay in float as the default budget leaves
them (`mixed_precision`), but none that cost more than a share of `AT_MOST` of the time that INT8 takes, and none at all
where that does not halve the loss. Where half as much is lost, a note says what can be asked for.

The error alone says little of the task, hence the wide bound: FastestDet at 0.27 has the mAP50 that it has in float,
YOLOX-nano at 0.41 has 48.4 of 49.6; MobileNetV2 at 0.37 gives 98.5 % of the classes. What is mended takes five times
the processor time (YOLOX-nano: 58 s instead of 12). With a bound of a third:

    YOLOX-nano           error 0.406 -> 0.093, mAP50 48.4 -> 49.3, 3.71 -> 3.79 ms as estimated for the Xavier
    YOLOv8n of NudeNet   error 0.364 -> 0.089, 2.47 -> 2.52 ms; where it finds something, scores 0.027 off instead of
                         0.065, of 0.39 on the mean (photos that show little of what it looks for)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import onnx_graphsurgeon as gs

from ...compiler.pipeline.data import Data
from ...compiler.report.formatting import counted
from ...runtime.quality.judge import SampleJudge
from ...runtime.subsets import evenly
from ..budgets.budget import Budget
from ..budgets.search import ALLOWED, DEFAULTS, BudgetSearch
from .mixed_precision import Leaving, Outcome, fewest_in_float
from .quantizer import Quantizer
from .time_saved import time_saved

BROKEN: Mapping[str, float] = MappingProxyType({"error": 0.5, "agreement": 0.2})
AT_MOST, WORTH = 0.03, 0.5
LOOKED_AT, JUDGED = 8, 32
"""Samples, at first and of what is broken on these."""
REASON = "stays in float: INT8 in all layers breaks the network, here alone it costs {:.2g} of the outputs (noise=)"
HINT = "INT8 in all of these layers: {}; quantize:{} leaves in float what that takes"


@dataclass(frozen=True, eq=False)
class Mended:
    """Attributes:
    notes: what was done, or what can be asked for.
    outcome: with some layers in float; None where the network is not broken, or not much better so.
    """

    notes: Sequence[str] = ()
    outcome: Outcome | None = None

    def reasons(self) -> dict[str, str]:
        """By layer that stays in float."""
        if self.outcome is None:
            return {}
        return {name: REASON.format(self.outcome.divergences[name]) for name in self.outcome.in_float}


def mended(quantizer: Quantizer, layers: Sequence[gs.Node]) -> Mended:
    """Of rounded `layers`."""
    data = quantizer.ctx.judging or quantizer.ctx.data
    if data is None or not layers:
        return Mended()
    whole = quantizer.written({node.name for node in layers})
    first = _search(quantizer, data, LOOKED_AT)
    lost = first.judge.judge(whole)
    if lost.held <= BROKEN[first.rule] / 2:
        return Mended()
    if lost.held <= BROKEN[first.rule]:
        asked = Budget(rule=first.rule, value=first.value(first.allowed))
        return Mended([HINT.format(first.figure(lost.loss), asked)])
    search = _search(quantizer, data, JUDGED)
    broken = search.judge.judge(whole)
    saved = time_saved(quantizer)
    leaving = Leaving.of(quantizer, layers, saved, JUDGED).within(AT_MOST * saved.whole)
    outcome = fewest_in_float(quantizer, layers, leaving, search)
    figures = [search.figure(each.loss) for each in (broken, outcome.judged)]
    if outcome.judged.held > WORTH * broken.held:
        return Mended([f"INT8 breaks the network: {figures[0]}; a budget may leave more layers in float"])
    count, cost = counted(len(outcome.in_float), "layer"), outcome.saved.cost(outcome.in_float)
    done = f"{count} left in float{cost}, since INT8 in all would break the network: {figures[0]}, now {figures[1]}"
    return Mended([f"{done}; noise=1 quantizes all"], outcome)


def _search(quantizer: Quantizer, data: Data, samples: int) -> BudgetSearch:
    """By the default budget of the network's kind, judged on some samples."""
    judge = SampleJudge.of(quantizer.graph, evenly(data, samples))
    rule, value = DEFAULTS[judge.metric]
    return BudgetSearch(rule, ALLOWED[rule](value), quantizer.ctx.data, judge)
