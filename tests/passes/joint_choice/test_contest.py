"""Plans beside each other: which are built where others cannot be."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import builders
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.data import Data
from onnx_compress.passes.budgets.budget import Budget, BudgetUnreachable, unreachable
from onnx_compress.passes.budgets.costs import Costs
from onnx_compress.passes.joint_choice.contest import ENOUGH, LITTLE, Contest
from onnx_compress.passes.joint_choice.paths import SavingPath
from onnx_compress.passes.joint_choice.plans import Plan
from onnx_compress.passes.joint_choice.ways import Way

GRAPH = "g (float[N,4,8,8] x) => (float[N,4,8,8] y) { y = Relu(x) }"


class NoBlocks:
    """A network in which nothing but sizes can change."""

    graph = builders.model(GRAPH).graph
    start = None

    def shares(self, _: object) -> Costs:
        return {"latency": 1.0}

    def blocks(self, _: object) -> list[object]:
        return []


@dataclass
class Refusing:
    """Makes plans of one way alone, by name, and no others."""

    makes: str
    problem: NoBlocks = field(default_factory=NoBlocks)
    tried: list[str] = field(default_factory=list[str])

    def write(self, plan: Plan, _graph: gs.Graph, _ctx: Context, _data: Data | None) -> PassResult:
        self.tried.append(str(plan))
        if [way.name for way, _ in plan.sizes] != [self.makes]:
            raise unreachable(Budget({"latency": 0.1}), "network", {"latency": 1.0})
        return PassResult(changed=True)


class Blocks(NoBlocks):
    """A network in which blocks can go, so many as are needed."""

    def blocks(self, _: object) -> list[object]:
        return [object()]

    def within(self, budget: Budget) -> list[Any]:
        return [SimpleNamespace(loss=0.1, shares=budget.limits, change=SimpleNamespace(name="block"))]


class Making:
    """Makes any plan."""

    problem = Blocks()

    def write(self, _plan: Plan, _graph: gs.Graph, _ctx: Context, _data: Data | None) -> PassResult:
        return PassResult(changed=True)


@dataclass
class Meter:
    lost: float = 0.5

    def loss(self, _: gs.Graph) -> float:
        return self.lost


def contest(makes: str) -> Contest:
    path = SavingPath([0.0, 0.3], [0.0, 0.1])
    ways = [Way(name, 0.3, lambda: path, cast(Any, None)) for name in ("filters", "factors")]
    return Contest(Context(), cast(Any, Refusing(makes)), cast(Any, Meter()), None, lambda: ways)


def test_where_no_mixture_can_be_made_a_way_alone_is() -> None:
    found = contest("factors")
    plan = found.best(0.1)
    assert [(way.name, share) for way, share in plan.sizes] == [("factors", 0.1)]


def test_where_nothing_can_be_made_there_is_no_plan() -> None:
    with pytest.raises(BudgetUnreachable):
        contest("neither").best(0.1)


@pytest.mark.parametrize(("lost", "measured"), [(LITTLE, False), (1.1 * LITTLE, True)])
def test_ways_are_measured_where_blocks_alone_lose_something(lost: float, measured: bool) -> None:
    paths: list[SavingPath] = []

    def path() -> SavingPath:
        paths.append(SavingPath([0.0, 0.3], [0.0, 0.1]))
        return paths[-1]

    ways = [Way("filters", 0.3, path, cast(Any, None))]
    found = Contest(Context(), cast(Any, Making()), cast(Any, Meter(lost)), None, lambda: ways)
    assert len(found.best(0.8).steps) == 1
    assert (len(paths) == 1) == measured and (ENOUGH in found.said[0.8]) != measured
