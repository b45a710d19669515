"""The best dense fit, against least squares on the rows themselves."""

from __future__ import annotations

import numpy as np
from onnx_compress.passes.projection.fit import best_fit, plain_fit


def rows(count: int = 400, inputs: int = 7, outputs: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, inputs)) @ rng.standard_normal((inputs, inputs)) + 1
    return x, x @ rng.standard_normal((inputs, outputs)) + rng.standard_normal((count, outputs)) - 2


def moments(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    ones = np.hstack([x, np.ones((len(x), 1))])
    return ones.T @ ones / len(x), y.T @ ones / len(x), float(np.vdot(y, y)) / len(x)


def test_weight_and_bias_are_those_of_ridge_regression_on_the_rows() -> None:
    x, y = rows()
    stored = np.random.default_rng(4).standard_normal((3, 7))
    fit = best_fit(*moments(x, y), stored=stored, ridge=0.01)
    pull = np.sqrt(0.01 * np.var(x, axis=0).mean() * len(x))
    left = np.vstack([x - x.mean(0), pull * np.eye(7)])
    right = np.vstack([y - y.mean(0), pull * stored.T])
    np.testing.assert_allclose(fit.weight, np.linalg.lstsq(left, right, rcond=None)[0].T, atol=1e-8)
    np.testing.assert_allclose(fit.bias(fit.weight), y.mean(0) - fit.weight @ x.mean(0), atol=1e-8)


def test_residual_and_lost_energy_are_mean_squared_errors() -> None:
    x, y = rows()
    fit = best_fit(*moments(x, y), stored=np.zeros((3, 7)), ridge=1e-12)
    other = fit.weight + np.random.default_rng(1).standard_normal(fit.weight.shape)
    error = np.mean(np.sum((y - x @ other.T - fit.bias(other)) ** 2, axis=1))
    np.testing.assert_allclose(fit.lost(other) + fit.residual, error, rtol=1e-3)
    np.testing.assert_allclose(fit.signal, np.sum(np.var(y, axis=0)), rtol=1e-9)


def test_a_strong_ridge_returns_the_stored_weight() -> None:
    stored = np.random.default_rng(2).standard_normal((3, 7))
    fit = best_fit(*moments(*rows()), stored=stored, ridge=1e9)
    np.testing.assert_allclose(fit.weight, stored, atol=1e-6)


def test_inputs_that_never_vary_keep_their_stored_weight() -> None:
    x, y = rows()
    x[:, 2] = 5.0
    stored = np.ones((3, 7))
    fit = best_fit(*moments(x, y), stored=stored, ridge=1e-6)
    np.testing.assert_allclose(fit.weight[:, 2], 1.0, atol=1e-3)


def test_without_data_the_fit_is_the_layer_itself() -> None:
    stored, bias = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0])
    fit = plain_fit(stored, bias)
    np.testing.assert_array_equal(fit.weight, stored)
    np.testing.assert_array_equal(fit.bias(stored), bias)
    assert fit.lost(stored) == 0


def test_constant_inputs_have_a_positive_definite_metric_in_spite_of_float32_moments() -> None:
    x = np.full((1000, 4), 5.3, np.float32)
    ones = np.hstack([x, np.ones((1000, 1), np.float32)])
    xx = ((ones.T @ ones) / 1000).astype(np.float64) - 1e-5
    fit = best_fit(xx, np.zeros((2, 5)), 0.0, np.ones((2, 4)), ridge=1e-3)
    assert np.linalg.eigvalsh(fit.metric)[0] > 0
    assert np.isfinite(fit.weight).all()


def test_the_fit_of_a_layer_to_its_own_outputs_is_the_layer_however_weak_the_ridge() -> None:
    """A weak ridge has the metric factorized, and what is solved by it misses the stored weight by rounding errors."""
    x, _ = rows()
    stored = np.random.default_rng(2).standard_normal((3, 7))
    for ridge in (1e-12, 1e-9, 1e-2):
        fit = best_fit(*moments(x, x @ stored.T + 1), stored=stored, ridge=ridge, own=True)
        np.testing.assert_array_equal(fit.weight, stored)
        assert fit.residual == 0
        np.testing.assert_allclose(fit.wanted, fit.pulled(stored), rtol=1e-6, atol=1e-6)
