"""Clipping thresholds from histograms."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.passes.projection.ranges import Method, symmetric, threshold, with_zero_point

RNG = np.random.default_rng(0)
WIDTH = 1 / 256


def histogram(values: np.ndarray) -> tuple[np.ndarray, float]:
    bins = (np.abs(values) / WIDTH).astype(int)
    return np.bincount(bins, minlength=4096), float(np.abs(values).max())


def chosen(values: np.ndarray, method: Method, percentile: float = 99.99) -> float:
    counts, peak = histogram(values)
    return threshold(counts, WIDTH, peak, method, percentile)


def test_minmax_is_the_peak():
    assert chosen(np.array([0.5, -3.0]), "minmax") == 3.0


def test_percentile():
    values = np.linspace(0, 10, 100_001)
    assert chosen(values, "percentile", 90.0) == pytest.approx(9.0, abs=2 * WIDTH)
    assert chosen(values, "percentile", 100.0) == pytest.approx(10.0, abs=2 * WIDTH)


@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
def test_an_outlier_is_clipped(method: Method):
    values = np.append(RNG.standard_normal(200_000), 15.0)
    assert 2.5 < chosen(values, method) < 8.0


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_an_even_spread_is_kept(method: Method):
    assert chosen(RNG.uniform(-8, 8, 100_000), method) == pytest.approx(8.0, rel=0.04)


@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
def test_a_peak_where_a_bin_begins_is_counted(method: Method):
    clipped = np.clip(RNG.uniform(0, 12, 10_000), 0, 6)
    assert (6 / WIDTH).is_integer()
    assert chosen(clipped, method) == pytest.approx(6.0, rel=0.02)
    assert chosen(np.full(100, 3.0), method) == 3.0


def test_mse_is_the_best_of_a_fine_scan():
    values = RNG.laplace(size=100_000)

    def error(top: float) -> float:
        step = top / 127
        return float(np.mean((values - step * np.clip(np.rint(values / step), -127, 127)) ** 2))

    least = min(error(top) for top in np.linspace(1, np.abs(values).max(), 400))
    assert error(chosen(values, "mse")) <= 1.03 * least


def test_steps():
    assert symmetric(127.0) == 1.0
    assert with_zero_point(0.0)(255.0) == 1.0
    assert with_zero_point(-27.0)(228.0) == 1.0
    assert with_zero_point(-9000.0)(255.0) == 2.0


@pytest.mark.parametrize("method", ["mse", "entropy"])
def test_twice_as_many_steps_clip_less(method: Method):
    values = np.abs(RNG.laplace(size=100_000))
    counts, peak = histogram(values)
    finer = threshold(counts, WIDTH, peak, method, step=with_zero_point(0.0))
    assert chosen(values, method) < finer <= peak


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
@pytest.mark.parametrize("values", [np.zeros(10), np.array([1e-3]), np.array([5.0, 5.0, 0.0])])
def test_degenerate_tensors(values: np.ndarray, method: Method):
    top = chosen(values, method)
    assert 0 <= top <= np.abs(values).max()
    assert top > 0 or not values.any()
