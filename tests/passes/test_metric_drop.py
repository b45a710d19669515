"""A budget in the units of the user's own metric, through whole runs."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np
import pytest
from onnx_compress import UsageError, compress
from onnx_compress.runtime.session import model_session

TEXT = """g (float[N,3,8,8] x) => (float[N,5,4,4] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1) r = Relu(a)
    b = Conv<pads=[1,1,1,1]>(r, w2) s = Relu(b)
    y = Conv<strides=[2,2]>(s, w3)
}"""
SHAPES = {"w1": (32, 3, 3, 3), "w2": (32, 32, 3, 3), "w3": (5, 32, 1, 1)}
PICTURES = builders.normal(16, 3, 8, 8, seed=7)


def network():
    return builders.proto(TEXT, **{name: builders.normal(*shape) / 8 for name, shape in SHAPES.items()})


class Likeness:
    """100 for what the original says."""

    def __init__(self) -> None:
        self.wanted: np.ndarray | None = None
        self.values: list[float] = []

    def __call__(self, predict: Any) -> float:
        found = predict({"x": PICTURES})["y"]
        self.wanted = found if self.wanted is None else self.wanted
        self.values.append(100 * (1 - np.linalg.norm(found - self.wanted) / np.linalg.norm(self.wanted)))
        return self.values[-1]


@pytest.mark.parametrize("data", [None, builders.normal(96, 3, 8, 8)], ids=["weights", "data"])
@pytest.mark.parametrize("name", ["basis", "prune"])
def test_the_written_network_keeps_the_bound_by_the_fewest_calls(name: str, data: np.ndarray | None) -> None:
    own = Likeness()
    result = compress(network(), f"{name}:metric-drop=30:objective=macs", data=data, metric=own, legalize=False)
    quality = result.report["quality"]
    assert quality is not None
    assert (quality["original"], quality["metric"]) == (pytest.approx(100), "Likeness()")
    assert 70 <= quality["value"] < 100
    trials = result.records[3].result.metrics["trials"]
    assert len(own.values) <= 1 + trials, "neither the best trial nor what is written is measured again"
    assert own(model_session(result.model).run) == pytest.approx(quality["value"])


def test_without_a_metric_of_ones_own_it_is_refused() -> None:
    with pytest.raises(UsageError, match="metric-drop is in the units of a metric of your own"):
        compress(network(), "basis:metric-drop=2")
