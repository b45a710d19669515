"""A way to give layers smaller sizes: fewer filters (`filters`), or factors in their place (`factors`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import onnx_graphsurgeon as gs

from ...compiler.costs.workload import LatencyModel
from ...compiler.pipeline.base import PassResult
from ...compiler.pipeline.context import Context
from .paths import SavingPath

WORTH = 0.02
"""The share of the time that the smallest sizes have to save before it is measured what they lose."""


@dataclass(frozen=True, eq=False)
class Way:
    """One of them.

    Attributes:
        name: what it does, in words.
        saves: the share of the original's time that its smallest sizes save, by their Convs.
        measure: what it saves and loses.
        write: makes a network, in place, that takes at most a share of the original's time; `BudgetUnreachable` where
            there is none.
    """

    name: str
    saves: float
    measure: Callable[[], SavingPath]
    write: Callable[[gs.Graph, Context, float], PassResult]

    @cached_property
    def path(self) -> SavingPath:
        """What it saves and loses, measured once, when it is first asked for."""
        return self.measure()


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
