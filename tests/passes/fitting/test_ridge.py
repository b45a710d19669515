"""Where rows are few, those that a fit has not seen decide how far it goes from the stored weight."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from builders import normal
from onnx_compress.passes.fitting.ridge import FACTORS, judged_fits, least
from onnx_compress.passes.projection.fit import best_fit
from onnx_compress.runtime.moments import Moments, MomentSum, joined

D, N = 48, 6


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    """Of rows in two halves."""
    sums = [MomentSum(1, D, N) for _ in range(2)]
    for part, total in enumerate(sums):
        total.add(x[part::2, None], y[part::2, None])
    return joined(*(each.result() for each in sums))


def missed(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.square(y - x @ weight.T - bias).sum() / len(x))


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_what_a_fit_has_not_seen_is_missed_no_more_than_by_the_ridge_asked_for(noise: float) -> None:
    stored = normal(1, N, D)
    x, unseen = normal(60, D, seed=1), normal(4000, D, seed=2)
    y, wanted = (rows @ (1.1 * stored[0].T) + noise * normal(len(rows), N, seed=3) for rows in (x, unseen))
    found = moments(x, y)
    (fit,) = judged_fits(found, stored, 1e-3)
    plain = best_fit(found.xx[0], found.yx[0], float(found.power[0]), stored[0], 1e-3)
    losses = [missed(each.weight, each.bias(each.weight), unseen, wanted) for each in (fit, plain)]
    assert losses[0] <= 1.02 * losses[1] + 1e-3 * float(wanted.var(axis=0).sum())
    assert noise < 3 or losses[0] < 0.5 * losses[1]


def test_a_layer_that_no_fit_makes_better_keeps_its_weight() -> None:
    """What is wanted is what it gives, and noise."""
    stored = normal(1, N, D)
    x = normal(60, D, seed=1)
    y = x @ stored[0].T + 5 * normal(60, N, seed=3)
    (fit,) = judged_fits(moments(x, y), stored, 1e-3)
    np.testing.assert_array_equal(fit.weight, stored[0])
    centred = y - y.mean(0) - (x - x.mean(0)) @ stored[0].T
    assert fit.residual == pytest.approx(np.square(centred).sum() / 60, rel=1e-3)
    np.testing.assert_allclose(fit.bias(fit.weight), y.mean(0) - stored[0] @ x.mean(0), atol=1e-4)


def test_without_parts_the_ridge_asked_for_is_taken() -> None:
    stored, x = normal(1, N, D), normal(600, D, seed=1)
    total = MomentSum(1, D, N)
    total.add(x[:, None], (x @ stored[0].T + normal(600, N))[:, None])
    found = total.result()
    (fit,) = judged_fits(found, stored, 1e-2)
    plain = best_fit(found.xx[0], found.yx[0], float(found.power[0]), stored[0], 1e-2)
    np.testing.assert_array_equal(fit.weight, plain.weight)


def test_parts_join_to_the_whole() -> None:
    x, y = normal(60, D, seed=1), normal(60, N, seed=2)
    total = MomentSum(1, D, N)
    total.add(x[:, None], y[:, None])
    whole, parted = total.result(), moments(x, y)
    for name in ("xx", "yx", "power", "count"):
        np.testing.assert_allclose(getattr(parted, name), getattr(whole, name), rtol=1e-5, atol=1e-6)
    assert parted.parts is not None and [each.count for each in parted.parts] == [30, 30]


@pytest.mark.parametrize("best", range(len(FACTORS)))
def test_the_least_of_losses_is_found_without_those_behind_it(best: int) -> None:
    asked = list[int]()

    def loss(number: int) -> float:
        asked.append(number)
        return abs(number - best) + 0.5

    assert least([partial(loss, number) for number in range(len(FACTORS))]) == (best, 0.5)
    assert len(asked) == len(set(asked)) and (best < 2 or len(asked) < len(FACTORS))
