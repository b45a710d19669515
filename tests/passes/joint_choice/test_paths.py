"""Savings divided over ways to save time."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np
import pytest
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.fast import Fast
from onnx_compress.passes.joint_choice.filters import filter_way
from onnx_compress.passes.joint_choice.paths import SavingPath, divided
from onnx_compress.passes.joint_choice.ways import WayOptions

CHEAP_AT_FIRST = SavingPath([0.0, 0.1, 0.2, 0.3], [0.0, 0.1, 1.0, 9.0])
STEADY = SavingPath([0.0, 0.1, 0.2, 0.3], [0.0, 0.4, 0.8, 1.2])


@pytest.mark.parametrize(
    ("wanted", "points"), [(0.1, [1, 0]), (0.2, [1, 1]), (0.3, [1, 2]), (0.5, [2, 3]), (0.6, [3, 3]), (0.61, None)]
)
def test_each_goes_as_far_as_the_price(wanted: float, points: list[int] | None) -> None:
    assert divided([CHEAP_AT_FIRST, STEADY], wanted) == points


def test_what_loses_more_than_foreseen_gives_way() -> None:
    dear = SavingPath(STEADY.saved, STEADY.lost, scale=10.0)
    assert divided([CHEAP_AT_FIRST, dear], 0.2) == [2, 0]


def test_losses_between_points() -> None:
    assert STEADY.at(0.15) == pytest.approx(0.6)
    assert SavingPath(STEADY.saved, STEADY.lost, 2.0).at(0.15) == pytest.approx(1.2)


WIDE = """g (float[N,3,16,16] x) => (float[N,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, u)  b = Relu(a)  c = Conv<pads=[1,1,1,1]>(b, v)  d = Relu(c)
    p = GlobalAveragePool(d)  f = Flatten(p)  y = Gemm<transB=1>(f, w)
}"""


def _path(channels: int, precision: str, power: str) -> SavingPath | None:
    weights = {"u": (channels, 3, 3, 3), "v": (channels, channels, 3, 3), "w": (6, channels)}
    values: dict[str, Any] = {name: builders.normal(*shape) for name, shape in weights.items()}
    graph = builders.model(WIDE, **values).graph
    ctx = Context(RunOptions(), original=graph.copy())
    model = Fast(latency=0.5, precision=precision, power=power).latency_model(ctx)  # pyright: ignore[reportArgumentType]
    assert model is not None
    way = filter_way(graph, ctx, None, WayOptions(model, 8, 1e-3))
    return None if way is None else way.path


def test_filters_that_save_nothing_have_no_path() -> None:
    assert _path(16, "fp16", "MAXN") is None


def test_more_filters_save_more_and_lose_more() -> None:
    path = _path(64, "fp32", "10W")
    assert path is not None and path.saved[0] == path.lost[0] == 0
    assert np.all(np.diff(path.saved) > 0) and np.all(np.diff(path.lost) >= 0)
    assert path.saved[-1] > 0.1
