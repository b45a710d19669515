"""All groups at once are fitted as each of them is."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from builders import normal
from onnx_compress.passes.projection.fit import Fit, best_fit
from onnx_compress.passes.projection.stacked import SMALL, best_fits
from onnx_compress.runtime.moments import Moments, MomentSum


def moments(groups: int, inputs: int, outputs: int, mean: float = 1.0) -> Moments:
    x = (normal(200, groups, inputs, seed=1) + mean).astype(np.float32)
    x[:, 0] = 0
    total = MomentSum(groups, inputs, outputs)
    total.add(x, (x @ normal(inputs, outputs, seed=2) + normal(200, groups, outputs, seed=3)).astype(np.float32))
    return total.result()


def assert_same(fit: Fit, expected: Fit) -> None:
    for field in fields(Fit):
        np.testing.assert_allclose(getattr(fit, field.name), getattr(expected, field.name), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(30, 9, 1), (4, 12, 3), (1, 9, 2), (2, SMALL + 1, 2)])
@pytest.mark.parametrize("ridge", [1e-8, 1e-3, 10.0])
def test_every_group_is_fitted_as_it_is_alone(groups: int, inputs: int, outputs: int, ridge: float, own: bool) -> None:
    found, stored = moments(groups, inputs, outputs), normal(groups, outputs, inputs).astype(np.float64)
    fits = best_fits(found.xx, found.yx, found.power, stored, ridge, own)
    assert len(fits) == groups
    for g, fit in enumerate(fits):
        assert_same(fit, best_fit(found.xx[g], found.yx[g], float(found.power[g]), stored[g], ridge, own))


def test_groups_of_which_one_is_indefinite_are_fitted_one_by_one() -> None:
    found, stored = moments(5, 9, 2), normal(5, 2, 9).astype(np.float64)
    found.xx[2, :-1, :-1] -= 2 * np.eye(9)
    found.xx[2, 0, 1] = found.xx[2, 1, 0] = 4
    fits = best_fits(found.xx, found.yx, found.power, stored, 1e-3)
    for g, fit in enumerate(fits):
        assert_same(fit, best_fit(found.xx[g], found.yx[g], float(found.power[g]), stored[g], 1e-3))


def test_squares_that_overflow_are_an_error() -> None:
    found, stored = moments(5, 9, 2), normal(5, 2, 9).astype(np.float64)
    found.xx[2, 0, 0] = np.inf
    with pytest.raises(FloatingPointError):
        best_fits(found.xx, found.yx, found.power, stored, 1e-3)
