"""INT8 grids: scales, rounding, error feedback."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.passes.projection import blocks
from onnx_compress.passes.projection.grid import (
    HIGH,
    feedback,
    from_grid,
    from_unsigned_grid,
    input_metric,
    metric_error,
    relative_error,
    round_bias,
    round_to_grid,
    row_scale,
    safe_scale,
    search_scale,
    to_grid,
    to_unsigned_grid,
    unsigned_error,
)

RNG = np.random.default_rng(0)


def correlated(size: int, samples: int = 400) -> np.ndarray:
    x = RNG.standard_normal((samples, 3)) @ RNG.standard_normal((3, size)) + 0.3 * RNG.standard_normal((samples, size))
    return x.T @ x / samples


def test_rounding_is_half_to_even_and_clamped():
    codes = round_to_grid(np.array([[0.5, 1.5, 2.5, -0.5, 200.0, -200.0]]), np.array([1.0], np.float32))
    assert codes.tolist() == [[0, 2, 2, 0, 127, -128]]


@pytest.mark.parametrize("compensate", [False, True])
def test_fewer_bits_have_fewer_codes(compensate: bool):
    weight, metric = RNG.standard_normal((6, 40)), correlated(40) + 0.1 * np.eye(40)
    codes, scale = to_grid(weight, metric, compensate, bits=7)
    assert -64 <= codes.min() <= codes.max() <= 63
    assert np.abs(codes.astype(int)).max() >= 63
    lost = metric_error(weight - from_grid(codes, scale), metric).sum()
    assert lost < 1e-3 * metric_error(weight, metric).sum()


def test_row_scale_reaches_the_largest_entry():
    weight = RNG.standard_normal((5, 7))
    codes = round_to_grid(weight, row_scale(weight))
    assert (np.abs(codes.astype(int)).max(axis=1) == HIGH).all()


@given(st.integers(1, 4), st.integers(1, 30), st.floats(-3, 3), st.floats(1e-4, 1e4), st.integers(0, 99))
def test_a_zero_point_takes_all_codes_and_keeps_zero(rows: int, size: int, mean: float, spread: float, seed: int):
    weight = spread * (mean + np.random.default_rng(seed).standard_normal((rows, size)))
    weight[:, ::5] = 0
    codes, scale, zero = to_unsigned_grid(weight)
    rounded = from_unsigned_grid(codes, scale, zero)
    assert codes.dtype == zero.dtype == np.uint8
    assert not rounded[:, ::5].any()
    assert (np.abs(rounded - weight) <= 1.01 * scale[:, None]).all()
    assert (codes.max(axis=1).astype(int) - np.minimum(codes.min(axis=1), zero) >= 254 * weight.any(axis=1)).all()


def test_a_zero_point_is_at_least_as_near():
    weight = RNG.standard_normal((50, 200)) + 0.5
    codes, scale, zero = to_unsigned_grid(weight)
    symmetric = relative_error(weight, from_grid(*to_grid(weight, None, compensate=False)), None)
    assert relative_error(weight, from_unsigned_grid(codes, scale, zero), None) < 0.8 * symmetric


@pytest.mark.parametrize("block", [1, 200, 450])
def test_blocks_of_rows_give_what_all_rows_give(block: int, monkeypatch: pytest.MonkeyPatch):
    weight = RNG.standard_normal((7, 200)).astype(np.float32)
    metric = correlated(200) + 0.1 * np.eye(200)
    codes, scale, zero = to_unsigned_grid(weight)
    searched = search_scale(weight, metric)
    assert unsigned_error(weight, codes, scale, zero) == pytest.approx(
        relative_error(weight, from_unsigned_grid(codes, scale, zero), None), rel=1e-5
    )
    monkeypatch.setattr(blocks, "BLOCK", block)
    for one, two in zip(to_unsigned_grid(weight), (codes, scale, zero), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(search_scale(weight, metric), searched)


def test_no_scale_is_searched_where_errors_overflow():
    weight = np.array([[3e38, -1e38], [1.0, 0.5]], np.float32)
    np.testing.assert_array_equal(search_scale(weight)[:1], row_scale(weight)[:1])


@pytest.mark.parametrize(
    "scale", [[0.0, 1.0], [np.nan, 1.0], [np.inf, 1.0], [1e-40, 1.0], [-1.0, 1.0], [0.0, 0.0], [1e-42, 1e-43]]
)
def test_scales_are_positive_and_normal(scale: list[float]):
    safe = safe_scale(np.array(scale))
    assert safe.dtype == np.float32
    assert np.isfinite(safe).all()
    assert (safe >= 1e-12).all()


def test_biases_in_whole_steps():
    step = np.float32([0.5, 0.25])
    np.testing.assert_array_equal(round_bias(np.array([0.74, -0.4]), step), np.float32([0.5, -0.5]))
    bias, step = RNG.standard_normal(1000), RNG.uniform(1e-7, 1e-2, 1000).astype(np.float32)
    rounded = round_bias(bias, step)
    assert rounded.dtype == np.float32
    assert (np.abs(rounded - bias) <= 0.51 * step + 1e-7 * np.abs(bias)).all()
    np.testing.assert_array_equal(round_bias(rounded, step), rounded)


def test_a_dead_filter_survives():
    weight = RNG.standard_normal((3, 6))
    weight[1] = 0.0
    for metric in (None, correlated(6) + np.eye(6)):
        codes, scale = to_grid(weight, metric, compensate=True)
        assert not from_grid(codes, scale)[1].any()
        assert (scale > 1e-6).all()


def test_grid_points_survive_another_rounding():
    weight = RNG.standard_normal((8, 50))
    codes, scale = to_grid(weight, correlated(50) + 0.1 * np.eye(50), compensate=True)
    stored = from_grid(codes, scale)
    np.testing.assert_array_equal(np.rint(stored / scale[:, None]), codes)


@pytest.mark.parametrize("metric", [None, correlated(12) + 0.1 * np.eye(12)])
def test_searched_scales_are_no_worse(metric: np.ndarray | None):
    weight = RNG.standard_t(3, (20, 12))

    def error(scale: np.ndarray) -> np.ndarray:
        gap = weight - from_grid(round_to_grid(weight, scale), scale)
        return metric_error(gap, None if metric is None else np.diag(np.diagonal(metric)))

    assert (error(search_scale(weight, metric)) <= error(row_scale(weight)) + 1e-12).all()


def test_feedback_beats_rounding_in_the_metric():
    metric = correlated(80) + 0.01 * np.eye(80)
    weight = RNG.standard_normal((16, 80))
    scale = row_scale(weight)
    nearest = metric_error(weight - from_grid(round_to_grid(weight, scale), scale), metric).sum()
    carried = metric_error(weight - from_grid(feedback(weight, scale, metric), scale), metric).sum()
    assert carried < 0.5 * nearest


def test_feedback_in_the_identity_metric_is_rounding():
    weight = RNG.standard_normal((4, 70))
    scale = row_scale(weight)
    np.testing.assert_array_equal(feedback(weight, scale, np.eye(70)), round_to_grid(weight, scale))


def test_feedback_against_all_roundings():
    """On two inputs: the second weight takes up the error of the first, as the exact minimum over neighbours does."""
    metric = np.array([[2.0, 1.6], [1.6, 1.5]])
    weight, scale = np.array([[30.4, 20.3]]), np.array([1.0], np.float32)
    options = [np.array([a, b]) for a, b in itertools.product((29, 30, 31, 32), (19, 20, 21, 22))]
    first = [q for q in options if q[0] == 30]
    best = min(first, key=lambda q: float((weight[0] - q) @ metric @ (weight[0] - q)))
    assert feedback(weight, scale, metric).tolist() == [best.tolist()]


def test_input_metric_is_the_covariance_with_a_ridge():
    x = RNG.standard_normal((2, 500, 4)) + 3
    x -= x.mean(axis=1, keepdims=True)
    for rows, found in zip(x, input_metric(x, 0.1), strict=True):
        covariance = np.cov(rows.T, bias=True)
        np.testing.assert_allclose(found, covariance + 0.1 * np.trace(covariance) / 4 * np.eye(4), atol=1e-9)


def test_input_metric_of_dead_inputs_is_definite():
    assert np.linalg.eigvalsh(input_metric(np.zeros((1, 7, 4)), 0.1)).min() > 0


def test_inputs_whose_squares_overflow_have_no_metric():
    with pytest.raises(FloatingPointError, match="overflow"), np.errstate(over="ignore"):
        input_metric(np.full((1, 3, 2), 1e30, np.float32), 0.1)


def test_feedback_in_a_metric_that_float32_cannot_factor():
    direction = RNG.standard_normal((1, 300))
    metric = (direction.T @ direction).astype(np.float32)
    weight = RNG.standard_normal((4, 300)).astype(np.float32)
    scale = row_scale(weight)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(metric)
    nearest = metric_error(weight - from_grid(round_to_grid(weight, scale), scale), metric).sum()
    assert metric_error(weight - from_grid(feedback(weight, scale, metric), scale), metric).sum() < 0.1 * nearest


def test_groups_are_rounded_as_if_alone():
    metric = np.stack([correlated(40) + 0.1 * np.eye(40) for _ in range(3)])
    weight = RNG.standard_normal((6, 40))
    codes, scale = to_grid(weight, metric, compensate=True)
    for group in range(3):
        rows = slice(2 * group, 2 * group + 2)
        alone, own = to_grid(weight[rows], metric[group], compensate=True)
        np.testing.assert_array_equal(codes[rows], alone)
        np.testing.assert_array_equal(scale[rows], own)


def test_relative_error():
    weight = RNG.standard_normal((3, 4))
    assert relative_error(weight, weight, None) == 0
    assert relative_error(weight, np.zeros((3, 4)), None) == pytest.approx(1)
    assert relative_error(np.zeros((3, 4)), np.zeros((3, 4)), None) == 0


def test_relative_error_of_outputs():
    weight, inputs = RNG.standard_normal((4, 5)), RNG.standard_normal((2, 30, 5))
    inputs[:, :, 0] = 0
    other = weight.copy()
    other[:, 0] += 1
    assert relative_error(weight, other, inputs) == 0
    lost = np.square(inputs[0] @ (0.1 * weight[:2]).T).sum() + np.square(inputs[1] @ (0.1 * weight[2:]).T).sum()
    total = sum(np.square(inputs[g] @ weight[2 * g : 2 * g + 2].T).sum() for g in range(2))
    assert relative_error(weight, 0.9 * weight, inputs) == pytest.approx(lost / total)
