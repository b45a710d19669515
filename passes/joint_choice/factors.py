"""What a basis in the place of Convs saves, and loses: what it saves is known by shapes, before anything is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx_graphsurgeon as gs

from ...compiler.pipeline.base import Decision, PassResult
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..basis import Basis
from ..budgets.budget import Budget
from ..budgets.file_size import network_ms
from ..decomposition.candidates import choose
from ..decomposition.survey import Survey, SurveyOptions, offers, survey
from .paths import SavingPath, drawn
from .ways import WORTH, Way, WayOptions

NAME = "layers factorized"


def factor_way(
    graph: gs.Graph,
    ctx: Context,
    data: Data | None,
    options: WayOptions,
    write: Callable[[gs.Graph, Context, float], PassResult],
) -> Way | None:
    """None where even the smallest save next to nothing. `write`: see `Way`."""
    asked = _asked(data, options)
    offered, _ = offers(graph, ctx, replace(asked, data=None))
    if not offered:
        return None
    times = [[choice.costs["latency"] for choice in each.choices] for each in offered]
    whole = network_ms(options.latency_model)(ctx.original or graph, ctx)
    saves = sum(dense - min(dense, *others) for dense, *others in times) / whole
    return Way(NAME, saves, lambda: _path(survey(graph, ctx, asked)), write)


def with_saving(decision: Decision, whole: float) -> Decision:
    """With the share of the original's time that goes, as blocks and filters have it; `whole`: that time."""
    before, after = (decision.figures.get(f"latency_{side}") for side in ("before", "after"))
    if decision.action != "rewritten" or before is None or after is None:
        return decision
    return replace(decision, figures={**decision.figures, "latency_saved": (float(before) - float(after)) / whole})


def _asked(data: Data | None, options: WayOptions) -> SurveyOptions:
    basis = Basis()
    return SurveyOptions(
        check=basis.check,
        forms=basis.forms(),
        units=("latency",),
        align=options.multiple,
        ridge=options.ridge,
        latency_model=options.latency_model,
        data=data,
        worth=WORTH,
    )


def _path(found: Survey) -> SavingPath:
    now, least = found.kept([each.dense for each in found.candidates])["latency"], found.least("latency")

    def at(share: float) -> tuple[float, float]:
        chosen = choose(Budget({"latency": share}), found.candidates, found.costs)
        return found.kept(chosen)["latency"], sum(choice.error for choice in chosen)

    return drawn(now, least, at)
