"""ADMM on planted layers: it finds the groups, and its residuals fall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_compress.passes.projection.activation_aware import ActivationSamples
from onnx_compress.passes.projection.activation_split import PiecewiseLinear
from onnx_compress.passes.projection.admm import SAMPLES, AdmmProblem, Axis, Solution, rows_for, solve, solve_fit
from onnx_compress.passes.projection.fit import plain_fit

TAPS, CHANNELS, OUTPUTS, RANK = 4, 10, 12, 2
PLANTED = [2, 5, 9]


def planted(axis: Axis) -> np.ndarray:
    rng = np.random.default_rng(0)
    low = rng.standard_normal((OUTPUTS, RANK)) @ rng.standard_normal((RANK, CHANNELS * TAPS)) / 3
    sparse = np.zeros((OUTPUTS, CHANNELS, TAPS))
    index = (slice(None), PLANTED) if axis == "channels" else (PLANTED,)
    sparse[index] = rng.standard_normal(sparse[index].shape)
    return low + sparse.reshape(OUTPUTS, -1)


def seen(weight: np.ndarray, activation: PiecewiseLinear, **changed: Any) -> ActivationSamples:
    x = np.maximum(np.random.default_rng(1).standard_normal((600, weight.shape[1])), 0).astype(np.float32)
    y = (x @ weight.T).astype(np.float32)
    return ActivationSamples(x, y - y.mean(0), changed.get("shift", 0.0), activation)


def solved(axis: Axis, activation: PiecewiseLinear, iterations: int = 120) -> Solution:
    weight = planted(axis)
    problem = AdmmProblem(axis, TAPS, len(PLANTED), RANK, iterations)
    return solve(rows_for(plain_fit(weight, None), seen(weight, activation)), weight, problem)


@pytest.mark.parametrize("axis", ["channels", "rows"])
@pytest.mark.parametrize(
    "activation", [PiecewiseLinear(), PiecewiseLinear(0.0), PiecewiseLinear(0.0, 6.0), PiecewiseLinear(0.0, leak=0.1)]
)
def test_planted_groups_are_found(axis: Axis, activation: PiecewiseLinear) -> None:
    norms = solved(axis, activation).norms
    assert sorted(np.argsort(-norms)[: len(PLANTED)]) == PLANTED


@pytest.mark.parametrize("axis", ["channels", "rows"])
def test_both_residuals_fall(axis: Axis) -> None:
    solution = solved(axis, PiecewiseLinear(0.0))
    for residuals in (solution.primal, solution.dual):
        assert len(residuals) == 120
        assert max(residuals[-10:]) < 0.02 * max(residuals[:10])


def test_more_iterations_end_with_smaller_residuals() -> None:
    short, long = (solved("channels", PiecewiseLinear(0.0), count) for count in (40, 160))
    assert long.primal[-1] < short.primal[-1]
    assert long.dual[-1] < short.dual[-1]


def test_without_rows_the_metric_stands_for_them() -> None:
    weight = planted("channels")
    rows = rows_for(plain_fit(weight, None), None)
    np.testing.assert_allclose(rows.x.T @ rows.x / len(rows.x), np.eye(weight.shape[1]), atol=1e-5)
    solution = solve(rows, weight, AdmmProblem("channels", TAPS, len(PLANTED), RANK))
    assert sorted(np.argsort(-solution.norms)[: len(PLANTED)]) == PLANTED


@pytest.mark.parametrize("shape", [None, (4, 3, 3)])
def test_without_data_the_weights_are_the_rows(shape: tuple[int, int, int] | None) -> None:
    weight = np.random.default_rng(0).standard_normal((8, 36))
    problem, fit = AdmmProblem("channels", 9, 1, 2, iterations=30, separable=shape), plain_fit(weight, None)
    plain, drawn = solve_fit(fit, None, problem), solve(rows_for(fit, None), weight, problem)
    np.testing.assert_allclose(plain.sparse, drawn.sparse, atol=1e-3)
    np.testing.assert_allclose(plain.low, drawn.low, atol=1e-3)
    np.testing.assert_allclose(plain.primal, drawn.primal, atol=1e-3)


def test_a_large_metric_is_drawn_from() -> None:
    weight = np.ones((1, SAMPLES // 2 + 1))
    x = rows_for(plain_fit(weight, None), None).x
    assert x.shape == (SAMPLES, weight.shape[1])
    assert np.square(x).mean() == pytest.approx(1, rel=0.02)
    assert np.abs(x.mean(0)).max() < 1e-5


def test_a_separable_low_part_has_few_terms() -> None:
    rng = np.random.default_rng(0)
    terms = np.einsum("nrj,rci->ncij", rng.standard_normal((6, 2, 3)), rng.standard_normal((2, 4, 3)))
    weight = terms.reshape(6, -1)
    problem = AdmmProblem("channels", 9, 1, 2, separable=(4, 3, 3))
    solution = solve(rows_for(plain_fit(weight, None), None), weight, problem)
    arranged = solution.low.reshape(6, 12, 3).swapaxes(1, 2).reshape(18, 12)
    assert np.linalg.matrix_rank(arranged, 1e-3 * np.linalg.norm(arranged)) <= 2
