"""What a basis in the place of Convs saves, and loses."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..basis import Basis
from ..budgets.budget import Budget
from ..decomposition.candidates import choose
from ..decomposition.survey import Survey, SurveyOptions, survey
from .paths import SavingPath, drawn
from .ways import WORTH, WayOptions


def factor_path(graph: gs.Graph, ctx: Context, data: Data | None, options: WayOptions) -> SavingPath | None:
    """What a basis in the place of Convs saves and loses; None where even the smallest saves next to nothing."""
    basis = Basis()
    asked = SurveyOptions(
        check=basis.check,
        forms=basis.forms(),
        units=("latency",),
        align=options.multiple,
        ridge=options.ridge,
        latency_model=options.latency_model,
        data=data,
        worth=WORTH,
    )
    found = survey(graph, ctx, asked)
    return _factor_path(found) if found.candidates else None


def _factor_path(found: Survey) -> SavingPath:
    now, least = found.kept([each.dense for each in found.candidates])["latency"], found.least("latency")

    def at(share: float) -> tuple[float, float]:
        chosen = choose(Budget({"latency": share}), found.candidates, found.costs)
        return found.kept(chosen)["latency"], sum(choice.error for choice in chosen)

    return drawn(now, least, at)
