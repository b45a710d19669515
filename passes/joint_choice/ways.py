"""Ways to give layers smaller sizes: fewer filters (`prune`), or factors in their place (`basis`).

What they save at most is known before anything is measured. Where that is next to nothing, they are left out: on small
batches most kernels take the time that any kernel takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..basis import Basis
from ..budgets.budget import Budget, BudgetUnreachable
from ..budgets.budgeted_pass import BudgetedPass
from ..decomposition.candidates import choose
from ..decomposition.survey import Survey, SurveyOptions, survey
from ..fitting.samples import held_out
from ..pruning.candidates import PruningCriteria
from ..pruning.problem import PruningProblem
from ..sensitivity.measure import SensitivityMeter
from .paths import SavingPath

UNITS = ("macs", "params", "latency")
POINTS = 12
WORTH = 0.02
"""The share of the time that the smallest sizes have to save before it is measured what they lose."""


@dataclass(frozen=True, eq=False)
class Way:
    """One of them.

    Attributes:
        name: what it does, in words.
        path: what it saves and loses.
        within: the pass for a share of the original's time.
    """

    name: str
    path: SavingPath
    within: Callable[[float], BudgetedPass]


@dataclass(frozen=True)
class WayOptions:
    """What all have in common.

    Attributes:
        multiple: of sizes.
        ridge: see `projection.fit`.
    """

    latency_model: LatencyModel
    multiple: int
    ridge: float


def filter_path(graph: gs.Graph, ctx: Context, data: Data | None, options: WayOptions) -> SavingPath | None:
    """What pruning saves and loses, by `division.loss`; None where even the fewest filters save next to nothing.

    They are shares of what the Convs save; the network as a whole differs by what it fuses.
    """
    rough = _problem(graph, ctx, None, options)
    if not rough.candidates or rough.shares()["latency"] - rough.least("latency") < WORTH:
        return None
    return _path(rough if data is None else _problem(graph, ctx, data, options))


def _problem(graph: gs.Graph, ctx: Context, data: Data | None, options: WayOptions) -> PruningProblem:
    """Without data filters are compared by weight, which is enough to know what they save."""
    measure = "output" if data is not None and held_out(data, 1) else "energy"
    meter = None if data is None else SensitivityMeter(measure, None)
    criteria = PruningCriteria(None, options.multiple, 1, options.ridge, data, meter)
    return PruningProblem.of(graph, ctx, criteria, UNITS, options.latency_model)


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


def _path(problem: PruningProblem) -> SavingPath:
    now, least = problem.shares()["latency"], problem.least("latency")

    def at(share: float) -> tuple[float, float]:
        gone = problem.divide("loss", Budget({"latency": share}))
        lost = sum(float(each.losses[count]) for each, count in zip(problem.candidates, gone, strict=True))
        return problem.shares()["latency"], lost

    return _drawn(now, least, at)


def _factor_path(found: Survey) -> SavingPath:
    now, least = found.kept([each.dense for each in found.candidates])["latency"], found.least("latency")

    def at(share: float) -> tuple[float, float]:
        chosen = choose(Budget({"latency": share}), found.candidates, found.costs)
        return found.kept(chosen)["latency"], sum(choice.error for choice in chosen)

    return _drawn(now, least, at)


def _drawn(now: float, least: float, at: Callable[[float], tuple[float, float]]) -> SavingPath:
    """Through `POINTS` shares of the time; `at` says for each what is left in fact, and what is lost."""
    found: dict[float, float] = {0.0: 0.0}
    for share in _shares(now, least):
        with suppress(BudgetUnreachable):
            left, lost = at(share)
            found[now - left] = lost
    saved = sorted(found)
    lost = np.maximum.accumulate([found[each] for each in saved])
    return SavingPath(saved, [float(each) for each in lost])


def _shares(now: float, least: float) -> Iterable[float]:
    return (float(share) * (1 + 1e-9) for share in np.linspace(now, least, POINTS + 1)[1:])
