"""The refit through the activation: it lowers what it is measured by, and leaves a fit that has no rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.compiler.graph.activations import Activation
from onnx_compress.passes.fitting.fits import activation_aware_fits
from onnx_compress.passes.projection.activation_aware import (
    ActivationAwareFit,
    ActivationSamples,
    refit_activation_aware,
)
from onnx_compress.passes.projection.activation_split import PiecewiseLinear
from onnx_compress.passes.projection.fit import Array, Fit, best_fit
from onnx_compress.passes.projection.lowrank import lowrank
from onnx_compress.runtime.moments import MomentSum, SampledRows

RELU = PiecewiseLinear(0.0)


def rows(inputs: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of 8 outputs that are mostly negative, and their weight."""
    weight = np.random.default_rng(0).standard_normal((8, inputs))
    x = np.random.default_rng(seed).standard_normal((count, inputs))
    return x.astype(np.float32), (x @ weight.T - 2).astype(np.float32), weight


def layer(
    shift: bool = False, activation: PiecewiseLinear = RELU, inputs: int = 12, count: int = 3000
) -> ActivationAwareFit:
    x, y, weight = rows(inputs, count, seed=1)
    total = MomentSum(1, inputs, 8)
    total.add(x[:, None], y[:, None])
    found = total.result()
    fit = best_fit(found.xx[0], found.yx[0], found.power[0], weight, 1e-3)
    added = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32) if shift else 0.0
    return ActivationAwareFit.of(fit, ActivationSamples(x, y, added, activation))


def rank_two(fit: Fit) -> Array:
    basis, mixture = lowrank(fit, 2)
    return mixture @ basis


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("activation", [RELU, PiecewiseLinear(0.0, 2.0), PiecewiseLinear(0.0, leak=0.1)])
def test_less_is_lost_after_the_activation(shift: bool, activation: PiecewiseLinear) -> None:
    fit = layer(shift, activation)
    assert fit.samples is not None
    _, judged = fit.samples.parted()
    found = refit_activation_aware(fit, rank_two, steps=8)
    start = rank_two(fit)
    before = judged.error(judged.outputs(start, fit.bias(start)))
    after = judged.error(judged.outputs(found.weight, found.bias))
    assert found.errors[0] == pytest.approx(before)
    assert after == pytest.approx(min(found.errors))
    assert after < 0.99 * before
    assert np.linalg.matrix_rank(found.weight) == 2


def test_few_rows_do_no_harm() -> None:
    """300 rows for 100 inputs: what lowers the error of these rows alone is not taken."""
    fit = layer(inputs=100, count=300)
    start, found = rank_two(fit), refit_activation_aware(fit, rank_two, steps=8)
    x, y, _ = rows(100, 2000, seed=5)
    fresh = ActivationSamples(x, y, 0.0, RELU)
    before = fresh.error(fresh.outputs(start, fit.bias(start)))
    assert fresh.error(fresh.outputs(found.weight, found.bias)) < 1.01 * before


def test_a_weight_that_is_right_stays() -> None:
    fit = layer()
    found = refit_activation_aware(fit, lambda moved: moved.weight, steps=8)
    np.testing.assert_allclose(found.weight, fit.weight, atol=1e-3)


def test_rows_without_an_activation_are_not_looked_at() -> None:
    fit, x = layer(), np.zeros((4, 1, 12), np.float32)
    y = np.zeros((4, 1, 8), np.float32)
    assert not isinstance(
        activation_aware_fits([Fit(fit.weight, fit.metric, fit.mean_x, fit.mean_y, 1.0)], SampledRows(x, y))[0],
        ActivationAwareFit,
    )
    (seen,) = activation_aware_fits([fit], SampledRows(x, y, activation=Activation(0.0)))
    assert isinstance(seen, ActivationAwareFit)
    assert seen.samples is not None
    assert seen.samples.shift == 0.0
