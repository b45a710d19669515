"""Separable weights in a metric."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.projection.fit import plain_fit
from onnx_compress.passes.projection.separable import compose, separable, separable_curve, separable_limit

from .test_lowrank import random_fit

SHAPE = (2, 3, 3)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_full_size_is_exact(outputs: int, seed: int) -> None:
    fit = random_fit(outputs, 18, seed)
    vertical, horizontal = separable(fit, SHAPE, separable_limit(outputs, SHAPE))
    np.testing.assert_allclose(compose(vertical, horizontal), fit.weight, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6))
def test_alternating_never_loses_more_than_the_start_and_the_curve_says_what_the_start_loses(
    rank: int, seed: int
) -> None:
    fit = random_fit(4, 18, seed)
    start = fit.lost(compose(*separable(fit, SHAPE, rank, sweeps=0)))
    np.testing.assert_allclose(separable_curve(fit, SHAPE, 6)[rank], start, rtol=1e-5, atol=1e-7 * fit.signal)
    assert fit.lost(compose(*separable(fit, SHAPE, rank))) <= start * (1 + 1e-6) + 1e-8 * fit.signal


def test_each_factor_is_at_its_least_squares_optimum() -> None:
    fit = random_fit(4, 18, 3)
    vertical, horizontal = separable(fit, SHAPE, 3, sweeps=400)
    reached = fit.lost(compose(vertical, horizontal))
    rng = np.random.default_rng(0)
    for _ in range(50):
        v = vertical + 1e-3 * rng.standard_normal(vertical.shape)
        h = horizontal + 1e-3 * rng.standard_normal(horizontal.shape)
        assert fit.lost(compose(v, horizontal)) >= reached * (1 - 1e-9)
        assert fit.lost(compose(vertical, h)) >= reached * (1 - 1e-9)


def test_without_a_metric_it_is_the_truncated_svd_of_the_rearranged_weight() -> None:
    weight = np.random.default_rng(0).standard_normal((4, 18))
    matrix = weight.reshape(4, 2, 3, 3).transpose(1, 2, 0, 3).reshape(6, 12)
    values = np.linalg.svd(matrix, compute_uv=False)
    fit = plain_fit(weight, None)
    np.testing.assert_allclose(fit.lost(compose(*separable(fit, SHAPE, 2))), np.sum(values[2:] ** 2), rtol=1e-6)


@pytest.mark.parametrize("rank", [1, 4])
def test_the_two_factors_of_a_rank_have_equal_norm(rank: int) -> None:
    vertical, horizontal = separable(random_fit(4, 18, 5), SHAPE, rank)
    np.testing.assert_allclose(np.sum(vertical**2, (1, 2)), np.sum(horizontal**2, (0, 2)), rtol=1e-9)


def test_a_zero_weight_has_finite_factors() -> None:
    vertical, horizontal = separable(plain_fit(np.zeros((4, 18)), None), SHAPE, 2)
    assert np.isfinite(vertical).all()
    assert np.isfinite(horizontal).all()
