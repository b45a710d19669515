from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from onnx_compress.runtime.training.optimizer import EPSILON, SMALL, Optimizer, orthogonal
from onnx_compress.runtime.training.schedule import rate_factor


def gradients(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_adamw_by_its_formula():
    parameter, decay, rate = {"w": gradients(9, 3, 2)}, 0.1, 0.01
    w, m, v = parameter["w"].copy(), np.zeros((3, 2)), np.zeros((3, 2))
    optimizer = Optimizer("adamw", decay=decay)
    for t in range(1, 4):
        g = gradients(t, 3, 2)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - rate * (m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + EPSILON) + decay * w)
        optimizer.step(parameter, {"w": g.copy()}, rate)
    np.testing.assert_allclose(parameter["w"], w, rtol=1e-12)


def test_scaled_steps_are_the_same_share_of_every_array():
    """An array a thousand times as large, whose gradient is a thousandth, takes the same way."""
    small = gradients(9, 3, 2)
    parameters, optimizer = {"a": small.copy(), "b": 1000 * small}, Optimizer("scaled")
    for t in range(1, 4):
        g = gradients(t, 3, 2)
        before = parameters["a"].copy()
        optimizer.step(parameters, {"a": g, "b": g / 1000}, 0.01)
        assert 0 < np.abs(parameters["a"] - before).max() <= 0.011 * np.sqrt(np.square(before).mean())
    np.testing.assert_allclose(parameters["b"], 1000 * parameters["a"], rtol=1e-4)


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (64, 2, 3, 3), (16, 16), (1, 9)])
def test_a_step_of_muon_has_singular_values_of_one_size(shape):
    step = gradients(9, *shape) * np.logspace(0, 2, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    before = np.linalg.svd(step.reshape(shape[0], -1), compute_uv=False)
    done = orthogonal(step)
    values = np.linalg.svd(done.reshape(shape[0], -1), compute_uv=False)
    assert done.shape == shape
    assert np.square(done).mean() == pytest.approx(1)
    assert values.max() / values.min() <= min(before.max() / before.min(), 2) + 1e-9
    np.testing.assert_allclose(orthogonal(1000 * step), done, rtol=1e-6)


def test_singular_vectors_stay_in_a_step_of_muon():
    step = gradients(9, 5, 8)
    u, _, v = np.linalg.svd(step, full_matrices=False)
    inner = u.T @ orthogonal(step) @ v.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-9)


def test_muon_on_a_gradient_of_zeros_stays():
    assert np.array_equal(orthogonal(np.zeros((2, 3))), np.zeros((2, 3)))


def test_muon_by_its_formula():
    parameter, rate, momentum = {"w": gradients(9, 3, 2), "b": gradients(8, 3)}, 0.1, np.zeros((3, 2))
    scaled, w = {"b": parameter["b"].copy()}, parameter["w"].copy()
    muon, other = Optimizer("muon", decay=0.5), Optimizer("scaled", decay=0.5)
    for t in range(3):
        g, bias = gradients(t, 3, 2), gradients(t, 3)
        momentum = 0.95 * momentum + g
        size = np.sqrt(np.square(w).mean() + SMALL**2)
        w = w - rate * (size * orthogonal(g + 0.95 * momentum) + 0.5 * w)
        muon.step(parameter, {"w": g.copy(), "b": bias.copy()}, rate)
        other.step(scaled, {"b": bias.copy()}, rate)
    np.testing.assert_allclose(parameter["w"], w, rtol=1e-12)
    assert np.array_equal(parameter["b"], scaled["b"])


def test_muon_learns_what_has_a_small_gradient_as_well():
    """The gradient of column 7 is a ten thousandth of that of column 0."""
    wanted, slopes = gradients(0, 6, 8), np.logspace(0, -4, 8)
    left: dict[str, float] = {}
    for kind, rate in {"muon": 0.1, "sgd": 0.1}.items():
        parameters, optimizer = {"w": np.full((6, 8), 0.1)}, Optimizer(kind)
        for t in range(200):
            optimizer.step(parameters, {"w": (parameters["w"] - wanted) * slopes}, rate * (1 - t / 200))
        left[kind] = float(np.abs(parameters["w"] - wanted).mean())
    assert left["muon"] < 0.05 < 0.2 < left["sgd"]


def test_sgd_by_its_formula():
    parameter, rate = {"w": gradients(9, 4)}, 0.1
    w, m = parameter["w"].copy(), np.zeros(4)
    optimizer = Optimizer("sgd", momentum=0.8, decay=0.5)
    for t in range(3):
        g = gradients(t, 4)
        m = 0.8 * m + g
        w = w - rate * (g + 0.8 * m)
        optimizer.step(parameter, {"w": g.copy()}, rate)
    np.testing.assert_allclose(parameter["w"], w, rtol=1e-12)


def test_decay_pulls_at_weights_and_not_at_biases():
    parameters = {"w": np.ones((2, 2)), "b": np.ones(2)}
    Optimizer("sgd", decay=0.5).step(parameters, {"w": np.zeros((2, 2)), "b": np.zeros(2)}, 0.1)
    np.testing.assert_allclose(parameters["w"], 0.95)
    np.testing.assert_allclose(parameters["b"], 1.0)


@pytest.mark.parametrize(("clip", "moved"), [(0.0, 5.0), (10.0, 5.0), (1.0, 1.0)])
def test_a_gradient_is_held_to_its_norm_over_all_parameters(clip, moved):
    parameters = {"a": np.zeros(1), "b": np.zeros(1)}
    Optimizer("sgd", momentum=0.0, clip=clip).step(parameters, {"a": np.array([3.0]), "b": np.array([4.0])}, 1.0)
    assert np.hypot(parameters["a"], parameters["b"])[0] == pytest.approx(moved)


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_the_rate_rises_to_its_peak_and_never_again(schedule):
    factors = [rate_factor(schedule, done, 0.1) for done in np.linspace(0, 1, 101)]
    assert factors[0] == 0
    assert max(factors) == pytest.approx(1)
    assert all(a >= b - 1e-12 for a, b in pairwise(factors[10:]))


def test_where_schedules_end():
    assert rate_factor("cosine", 1.0, 0.0) == pytest.approx(0)
    assert rate_factor("step", 1.0, 0.0) == pytest.approx(1e-3)
    assert rate_factor("step", 0.3, 0.0) == pytest.approx(0.1)
    assert rate_factor("constant", 1.0, 0.0) == 1.0
