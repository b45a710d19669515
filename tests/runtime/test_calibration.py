"""Streaming histograms: exact against numpy, mergeable, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Images, model, normal
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.calibration import (
    BINS,
    COUNTED,
    Histogram,
    channel_peaks,
    first_samples,
    fixed_batch,
    histograms,
    observe,
)


def counted(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part.astype(np.float32))
    return histogram


def expected(histogram: Histogram, values: np.ndarray) -> np.ndarray:
    bins = np.floor(np.abs(values.astype(np.float32)) / np.float32(histogram.width)).astype(int)
    return np.bincount(bins, minlength=BINS)


@given(st.lists(st.floats(-24, 24), min_size=1, max_size=6), st.integers(0, 99))
def test_batches_of_any_range_count_like_one(exponents: list[float], seed: int):
    parts = [normal(50, seed=seed) * np.float32(2.0**e) for e in exponents]
    histogram = counted(*parts)
    values = np.concatenate(parts)
    np.testing.assert_array_equal(histogram.counts, expected(histogram, values))
    assert histogram.peak == np.abs(values).max()
    assert histogram.width * BINS / 2 <= histogram.peak < histogram.width * BINS


@pytest.mark.parametrize("order", [1, -1])
def test_merge_counts_both(order: int):
    small, large = [normal(300), 1000 * normal(300, seed=1)][::order]
    merged = counted(small)
    merged.merge(counted(large))
    np.testing.assert_array_equal(merged.counts, counted(small, large).counts)
    assert merged.peak == counted(small, large).peak


def test_zeros_and_nothing():
    histogram = counted(np.zeros(5), np.zeros((0, 3)))
    assert (histogram.counts[0], histogram.counts.sum(), histogram.peak) == (5, 5, 0.0)
    histogram.add(np.array([3.0], np.float32))
    assert (histogram.counts[0], histogram.counts.sum(), histogram.peak) == (5, 6, 3.0)


def test_large_tensors_are_thinned_but_for_the_peak():
    values = np.zeros((3, 5 * COUNTED), np.float32)
    values[2, -2] = -7.0
    histogram = counted(values)
    assert 3 * COUNTED / 2 < histogram.counts.sum() < 6 * COUNTED
    assert histogram.peak == 7.0


def test_the_least_value():
    one, other = counted(np.array([0.5, 2.0])), counted(np.array([-0.25, 1.0]))
    assert (one.low, other.low) == (0.0, -0.25)
    one.merge(other)
    assert one.low == -0.25


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_refused(bad: float):
    with pytest.raises(ValueError, match="finite"):
        counted(np.array([1.0, bad]))


NET = "g (float[N,3,4,4] x) => (float[N,2,4,4] y) { r = Relu(x) y = Conv(r, w) }"
W = {"w": normal(2, 3, 1, 1)}
DATA = Images(normal(150, 3, 4, 4, seed=3))


def test_histograms_of_a_network():
    found = histograms(model(NET, **W).graph, ["x", "r"], DATA, 100)
    used = DATA.x[:100]
    np.testing.assert_array_equal(found["x"].counts, expected(found["x"], used.reshape(-1)))
    assert found["r"].peak == used.max()


def test_channel_peaks():
    found = channel_peaks(model(NET, **W).graph, ["r"], DATA, 150)
    np.testing.assert_array_equal(found["r"], np.maximum(DATA.x, 0).max(axis=(0, 2, 3)))


def test_a_network_that_overflows_is_named():
    graph = model("g (float[N,3] x) => (float[N,3] y) { e = Exp(x) y = Gemm(e, w) }", w=normal(3, 3)).graph
    with pytest.raises(CompressError, match="'e' is NaN or Inf"):
        histograms(graph, ["e"], Images(np.full((3, 3), 1e4, np.float32)), 3)


def test_batches_stay_within_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onnx_compress.runtime.calibration.MEMORY", 5 * 3 * 16 * 4)
    sizes = [len(values["r"]) for values in observe(model(NET, **W).graph, ["r"], DATA, 12)]
    assert sizes == [5, 5, 2]


def test_a_fixed_batch_is_fed_whole():
    graph = model(NET.replace("N", "4"), **W).graph
    assert fixed_batch(graph) == 4
    assert [len(values["r"]) for values in observe(graph, ["r"], DATA, 10)] == [4, 4]


def test_first_samples():
    assert [len(feeds["x"]) for feeds in first_samples(DATA, 64, 100)] == [64, 36]
    assert [len(feeds["x"]) for feeds in first_samples(DATA, 64, 1000)] == [64, 64, 22]
