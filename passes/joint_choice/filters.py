"""The path of pruning: what fewer filters save, and lose."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ..budgets.budget import Budget, BudgetUnreachable
from ..fitting.samples import held_out
from ..pruning.candidates import PruningCriteria
from ..pruning.problem import PruningProblem
from ..sensitivity.measure import SensitivityMeter
from .paths import SavingPath

UNITS = ("macs", "params", "latency")
POINTS = 12
WORTH = 0.02
"""The share of the time that the fewest filters have to save before it is measured what they lose."""


@dataclass(frozen=True)
class FilterOptions:
    """How filters go.

    Attributes:
        multiple: of which so many stay.
        ridge: see `projection.fit`.
    """

    latency_model: LatencyModel
    multiple: int
    ridge: float


def filter_path(graph: gs.Graph, ctx: Context, data: Data | None, options: FilterOptions) -> SavingPath | None:
    """What pruning saves and loses, by `division.loss`; None where even the fewest filters save next to nothing.

    The shares are those that the Convs save, and estimates of the network as a whole differ by what it fuses.
    """
    rough = _problem(graph, ctx, None, options)
    if not rough.candidates or rough.shares()["latency"] - rough.least("latency") < WORTH:
        return None
    return _path(rough if data is None else _problem(graph, ctx, data, options))


def _problem(graph: gs.Graph, ctx: Context, data: Data | None, options: FilterOptions) -> PruningProblem:
    """Without data filters are compared by weight, which is enough to know what they save."""
    measure = "output" if data is not None and held_out(data, 1) else "energy"
    meter = None if data is None else SensitivityMeter(measure, None)
    criteria = PruningCriteria(None, options.multiple, 1, options.ridge, data, meter)
    return PruningProblem.of(graph, ctx, criteria, UNITS, options.latency_model)


def _path(problem: PruningProblem) -> SavingPath:
    now, least = problem.shares()["latency"], problem.least("latency")
    found = {0.0: 0.0}
    for share in np.linspace(now, least, POINTS + 1)[1:]:
        with suppress(BudgetUnreachable):
            gone = problem.divide("loss", Budget({"latency": float(share) * (1 + 1e-9)}))
            lost = sum(float(each.losses[count]) for each, count in zip(problem.candidates, gone, strict=True))
            found[now - problem.shares()["latency"]] = lost
    saved = sorted(found)
    lost = np.maximum.accumulate([found[each] for each in saved])
    return SavingPath(saved, [float(each) for each in lost])
