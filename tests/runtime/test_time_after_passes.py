"""The shapes that the estimate was made from are given away only while they are the network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from builders import model, normal
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.base import Pass, PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.manager import PassManager
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.report.sizes import ESTIMATED
from onnx_compress.runtime.shapes import network_shapes
from onnx_compress.runtime.time_after_passes import TimeAfterPasses

NET = "g (float[1,4,8,8] x) => (float[1,M,8,8] y) { y = Conv(x, w) }"


@dataclass(frozen=True)
class Filters(Pass):
    """Leaves the first of the filters."""

    name: ClassVar[str] = "filters"
    count: int = 0

    def run(self, graph, ctx):
        if self.count:
            weight = graph.nodes[0].inputs[1].values[: self.count]
            Rewriter(graph, ctx.origins).set_weight(graph.nodes[0], 1, weight)
        return PassResult(changed=bool(self.count))


@dataclass(frozen=True)
class Failing(Pass):
    """Stops half way."""

    name: ClassVar[str] = "failing"

    def run(self, graph, ctx):
        graph.nodes.clear()
        raise ValueError("half way")


@pytest.mark.parametrize(
    ("target", "passes", "known"),
    [
        ("xavier", [Filters(5)], True),
        ("xavier", [Filters(5), Filters(3)], True),
        ("xavier", [Filters(5), Filters()], True),
        ("xavier", [Filters(5), Failing()], False),
        ("xavier", [Filters()], False),
        ("ort", [Filters(5)], False),
    ],
)
def test_they_are_those_of_the_network_as_it_is(target: str, passes: list[Pass], known: bool):
    source, time = model(NET, w=normal(6, 4, 1, 1)), TimeAfterPasses()
    ctx = Context(RunOptions(target=target))
    records = PassManager(passes, [time], keep_going=True).run(source, ctx)
    assert (time.shapes is not None) == known
    assert (ESTIMATED in records[0].figures) == (target == "xavier" and not records[0].idle)
    if time.shapes is not None:
        assert time.shapes == network_shapes(source.graph, ctx)
        assert time.shapes["y"][1] == len(source.graph.nodes[0].inputs[1].values)
