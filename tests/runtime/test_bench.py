from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import model
from front import classifier, write_model
from onnx_compress.compiler.errors import UsageError
from onnx_compress.runtime import bench as timing
from onnx_compress.runtime.bench import bench, bench_feeds, paired_ratio


def test_the_ratio_is_that_of_the_rounds_not_of_the_medians():
    drift = np.linspace(1, 3, 40)
    ratio, (low, high) = paired_ratio(0.5 * drift, drift, np.random.default_rng(0))
    assert (ratio, low, high) == (0.5, 0.5, 0.5)


def test_the_interval_holds_one_where_nothing_differs():
    rng = np.random.default_rng(0)
    ratio, (low, high) = paired_ratio(rng.lognormal(size=200), rng.lognormal(size=200), rng)
    assert low < 1 < high and low < ratio < high


def test_every_round_runs_every_model_and_the_first_counts_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [write_model(tmp_path / f"{name}.onnx") for name in "ab"]
    costs, order = {0: 2.0, 1: 1.0}, list[int]()
    monkeypatch.setattr(timing, "_runnable", lambda path, *rest: (paths.index(path), {}))
    monkeypatch.setattr(timing, "_once", lambda session, feeds: (order.append(session), costs[session])[1])
    first, second = bench(paths, runs=20)
    assert (first.ratio, first.interval, second.ratio, second.median) == (1.0, (1.0, 1.0), 0.5, 1000.0)
    rounds = list(zip(order[::2], order[1::2], strict=True))
    assert len(rounds) == 23 and set(rounds) == {(0, 1), (1, 0)}, "in changing order"


def test_models_are_timed(tmp_path: Path):
    (found,) = bench([write_model(tmp_path / "a.onnx")], batch=2, runs=2)
    assert 0 < found.quartiles[0] <= found.median <= found.quartiles[1]


def test_the_batch_fills_open_dimensions_only():
    rng = np.random.default_rng(0)
    graph = model("g (float[N,3] x, float[N,2] z, float[4] c) => (float[N,3] y) { y = Relu(x) }").graph
    with pytest.raises(UsageError, match="'c' has a batch of 4, not 5"):
        bench_feeds(graph, 5, rng)
    assert {name: value.shape for name, value in bench_feeds(graph, 4, rng).items()} == {
        "x": (4, 3),
        "z": (4, 2),
        "c": (4,),
    }
    assert bench_feeds(graph, None, rng)["x"].shape == (1, 3)


def test_a_provider_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(timing.PROVIDERS, "cuda", "NoSuchProvider")
    with pytest.raises(UsageError, match=r"no cuda here; it has .*cpu.* \(pip install"):
        bench([write_model(tmp_path / "a.onnx", classifier())], provider="cuda", runs=2)
