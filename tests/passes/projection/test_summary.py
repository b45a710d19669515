"""Segments of one vector: least squares against the scatter-mean, planted segments found, starts that only help."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.projection.fit import Fit, plain_fit
from onnx_compress.passes.projection.repeats import best_scales, best_values
from onnx_compress.passes.projection.summary import even_summary, fit_starts, linear_bytes, summary_length


def in_metric(weight: np.ndarray, seed: int = 0) -> Fit:
    rows = builders.normal(4 * weight.shape[1], weight.shape[1], seed=seed).astype(np.float64)
    metric = rows.T @ rows / len(rows)
    return Fit(weight, metric, np.zeros(len(metric)), np.zeros(len(weight)), float(np.sum(weight**2)))


def test_in_the_identity_metric_the_vector_is_the_scatter_mean() -> None:
    weight = builders.normal(8, 12).astype(np.float64)
    summary = even_summary([plain_fit(weight, None)], 32, scaled=False)
    (indices,) = summary.indices()
    mean = np.array([weight[indices == i].mean() for i in range(32)])
    np.testing.assert_allclose(summary.vector, mean, atol=1e-9)


@pytest.mark.parametrize("ratio", [1.3, 2.0, 4.0])
def test_unrelated_filters_lose_what_is_left_out(ratio: float) -> None:
    weight = builders.normal(128, 576).astype(np.float64)
    fits = [plain_fit(weight, None)]
    even = even_summary(fits, summary_length(128, 576, ratio), scaled=False)
    assert even.lost(fits) / np.sum(weight**2) == pytest.approx(1 - 1 / ratio, abs=0.03)


def test_values_solve_the_normal_equations() -> None:
    fit = in_metric(builders.normal(5, 9).astype(np.float64))
    indices = np.random.default_rng(0).integers(0, 7, (5, 9))
    scales = builders.normal(5, seed=3).astype(np.float64)
    values = best_values([fit], [indices], [scales], np.zeros(7), 50)
    design = np.zeros((45, 7))
    design[np.arange(45), indices.ravel()] = np.repeat(scales, 9)
    root = np.kron(np.eye(5), np.linalg.cholesky(fit.metric).T)
    wanted = np.linalg.lstsq(root @ design, root @ fit.weight.ravel(), rcond=None)[0]
    np.testing.assert_allclose(values, wanted, atol=1e-6)


def test_values_are_solved_as_far_as_the_tolerance_asks() -> None:
    fit, scale = in_metric(builders.normal(5, 9).astype(np.float64)), np.ones(5)
    indices = np.random.default_rng(0).integers(0, 7, (5, 9))

    def collected(weight: np.ndarray) -> np.ndarray:
        return np.bincount(indices.ravel(), weight.ravel(), 7)

    left = []
    for tolerance in (1e-1, 1e-3):
        values = best_values([fit], [indices], [scale], np.zeros(7), 50, tolerance)
        left.append(np.linalg.norm(collected(fit.pulled(values[indices]) - fit.wanted)))
        assert left[-1] <= tolerance * np.linalg.norm(collected(fit.wanted))
    assert left[1] < left[0]


def test_scales_are_the_best() -> None:
    fit = in_metric(builders.normal(5, 9).astype(np.float64))
    unit = builders.normal(5, 9, seed=2).astype(np.float64)
    scales = best_scales(fit, unit, np.ones(5))
    for other in (0.99, 1.01):
        assert fit.lost((other * scales)[:, None] * unit) > fit.lost(scales[:, None] * unit)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.booleans())
def test_fitted_starts_are_never_worse(seed: int, scaled: bool) -> None:
    fits = [in_metric(builders.normal(6, 10, seed=seed + g).astype(np.float64), seed) for g in range(2)]
    even = even_summary(fits, 40, scaled)
    assert fit_starts(fits, even, scaled).lost(fits) <= even.lost(fits)


def test_filters_that_lie_on_the_vector_are_found() -> None:
    vector = builders.normal(60).astype(np.float64)
    starts = np.arange(0, 60, 4)
    weight = vector[(starts[:, None] + np.arange(12)) % 60]
    moved = weight.copy()
    moved[3] = vector[31:43]
    fits = [plain_fit(moved, None)]
    even = even_summary(fits, 60, scaled=False)
    assert fit_starts(fits, even, scaled=False).lost(fits) < 0.3 * even.lost(fits)


@given(st.integers(0, 99), st.floats(-3, 3))
def test_bytes_are_half_a_step_away_at_most(seed: int, shift: float) -> None:
    vector = builders.normal(40, seed=seed).astype(np.float64) + shift
    codes, step, low = linear_bytes(vector)
    assert np.abs(step * codes + low - vector).max() <= 0.501 * step
