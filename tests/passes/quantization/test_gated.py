"""Grids chosen behind a gate."""

from __future__ import annotations

import numpy as np
from builders import normal
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.graph.quantization.quantizers import Grid
from onnx_compress.passes.quantization.gated import gated_grid, gated_loss
from onnx_compress.runtime.gated_values import ChannelValues


def silu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(x.astype(np.float64) / 2)) / 2


def between(low: float, high: float) -> Grid:
    scale = max((high - low) / 255, 1e-6)
    return Grid(scale, np.uint8(round(-low / scale)))


def values(rows: np.ndarray) -> ChannelValues:
    return ChannelValues([rows], min(0.0, float(rows.min())), max(0.0, float(rows.max())))


def test_the_flat_side_of_a_silu_is_clipped():
    seen = values(np.concatenate([normal(500, 8), 20 * normal(500, 8, seed=1) - 50], axis=1))
    low, high = gated_grid(seen, silu, between(seen.low, seen.high), between).ends
    assert -15 < low < -2
    assert high < 30


def test_both_sides_of_the_identity_stay():
    seen = values(np.random.default_rng(0).uniform(-10, 10, (2000, 4)).astype(np.float32))
    low, high = gated_grid(seen, lambda x: x.astype(np.float64), between(-20, 20), between).ends
    assert -10.5 < low < -9
    assert 9 < high < 10.5


def test_channels_of_a_small_range_count():
    rows = np.concatenate([normal(4000, 15), 30 * normal(4000, 1, seed=1)], axis=1)
    ends = gated_grid(values(rows), silu, between(rows.min(), rows.max()), between).ends
    assert ends[1] < 0.8 * rows.max()


def test_the_first_stays_where_none_is_better():
    """Values on its very grid, which no other step hits."""
    first = Grid(0.37, np.uint8(100))
    rows = first.values(np.random.default_rng(0).integers(0, 256, (3000, 2)).astype(np.uint8))
    assert gated_loss(values(rows), silu, first) == 0
    found = gated_grid(values(rows), silu, first, between)
    assert gated_loss(values(rows), silu, found) < 1e-5


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 50), st.floats(-40, 40), st.integers(0, 100))
def test_no_more_is_lost_than_by_the_first(spread: float, mean: float, seed: int):
    seen = values(spread * normal(400, 3, seed=seed) + np.float32(mean))
    first = between(seen.low, seen.high)
    lost = [gated_loss(seen, silu, grid) for grid in (first, gated_grid(seen, silu, first, between))]
    assert lost[1] <= lost[0] * 1.05 + 1e-6


def test_values_that_hardly_vary():
    for rows in (np.zeros((10, 2)), np.full((10, 2), 1000.0), np.full((10, 2), -1000.0)):
        seen = values(rows.astype(np.float32))
        assert np.isfinite(gated_loss(seen, silu, gated_grid(seen, silu, between(seen.low, seen.high), between)))


def test_where_the_gate_has_no_value():
    """The logarithm of what is rounded to 0: everything is lost, and of what is 0 itself no grid is better."""
    with np.errstate(divide="ignore"):
        for rows in (np.geomspace(1e-3, 10, 200), np.linspace(0, 10, 200)):
            seen = values(rows.astype(np.float32).reshape(-1, 2))
            first = between(0, seen.high)
            assert gated_loss(seen, np.log, first) == 1.0
            assert np.isfinite(gated_loss(seen, np.log, gated_grid(seen, np.log, first, between)))
