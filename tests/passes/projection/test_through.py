"""The refit through the activation: it lowers what it is measured by, and leaves a fit that has no rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.compiler.activation import Activation
from onnx_compress.passes.decomposition.survey import seen_fits
from onnx_compress.passes.projection.activation_split import Pieces
from onnx_compress.passes.projection.fit import Array, Fit, best_fit
from onnx_compress.passes.projection.lowrank import lowrank
from onnx_compress.passes.projection.through import Seen, SeenFit, refit_through
from onnx_compress.runtime.moments import MomentSum, Rows

RELU = Pieces(0.0)


def layer(shift: bool = False, activation: Pieces = RELU) -> SeenFit:
    """8 outputs that are mostly negative, of 12 inputs."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((3000, 12)), rng.standard_normal((8, 12))
    y = x @ weight.T - 2
    total = MomentSum(1, 12, 8)
    total.add(x[:, None].astype(np.float32), y[:, None].astype(np.float32))
    found = total.result()
    fit = best_fit(found.xx[0], found.yx[0], found.yy[0], weight, 1e-3)
    added = rng.standard_normal(y.shape).astype(np.float32) if shift else 0.0
    return SeenFit.of(fit, Seen(x.astype(np.float32), y.astype(np.float32), added, activation))


def rank_two(fit: Fit) -> Array:
    basis, mixture = lowrank(fit, 2)
    return mixture @ basis


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("activation", [RELU, Pieces(0.0, 2.0), Pieces(0.0, leak=0.1)])
def test_less_is_lost_after_the_activation(shift: bool, activation: Pieces) -> None:
    fit = layer(shift, activation)
    assert fit.seen is not None
    found = refit_through(fit, rank_two, steps=8)
    start = rank_two(fit)
    before = fit.seen.error(fit.seen.outputs(start, fit.bias(start)))
    after = fit.seen.error(fit.seen.outputs(found.weight, found.bias))
    assert found.errors[0] == pytest.approx(before)
    assert after == pytest.approx(min(found.errors))
    assert after < 0.99 * before
    assert np.linalg.matrix_rank(found.weight) == 2


def test_a_weight_that_is_right_stays() -> None:
    fit = layer()
    found = refit_through(fit, lambda moved: moved.weight, steps=8)
    np.testing.assert_allclose(found.weight, fit.weight, atol=1e-3)


def test_rows_without_an_activation_are_not_looked_at() -> None:
    fit, x = layer(), np.zeros((4, 1, 12), np.float32)
    y = np.zeros((4, 1, 8), np.float32)
    assert not isinstance(seen_fits([Fit(fit.weight, fit.metric, fit.mean_x, fit.mean_y, 1.0)], Rows(x, y))[0], SeenFit)
    (seen,) = seen_fits([fit], Rows(x, y, activation=Activation(0.0)))
    assert isinstance(seen, SeenFit)
    assert seen.seen is not None
    assert seen.seen.shift == 0.0
