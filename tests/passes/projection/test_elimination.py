"""Backward elimination: its losses are those of the best re-fit, and each step takes the cheapest unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.projection.elimination import Reader, eliminate


def reader(seed: int, units: int = 5, span: int = 2, outputs: int = 3) -> Reader:
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((units * span, units * span))
    columns = [np.arange(span) + unit * span for unit in range(units)]
    return Reader(rng.standard_normal((outputs, units * span)), mixed @ mixed.T + np.eye(units * span), columns, 2.0)


def refit_loss(reader: Reader, gone: np.ndarray) -> float:
    """By least squares on the columns that stay."""
    lost = np.concatenate([reader.columns[unit] for unit in gone])
    left = np.setdiff1d(np.arange(len(reader.metric)), lost)
    metric, weight = reader.metric, reader.weight
    best = np.zeros_like(weight)
    best[:, left] = weight @ metric[:, left] @ np.linalg.inv(metric[np.ix_(left, left)])
    return float(np.trace((weight - best) @ metric @ (weight - best).T)) / reader.signal


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_losses_are_those_of_the_best_refit_summed_over_readers(seed: int, count: int) -> None:
    readers = [reader(seed), reader(seed + 1, outputs=1)]
    found = eliminate(readers, np.ones(5))
    wanted = sum(refit_loss(each, found.order[:count]) for each in readers)
    np.testing.assert_allclose(found.losses[count], wanted, rtol=1e-8)


def test_every_step_takes_the_unit_of_least_loss_per_price() -> None:
    one, price = reader(3), np.array([1.0, 2.0, 4.0, 1.0, 3.0])
    found = eliminate([one], price)
    for step in range(5):
        done = found.order[:step]
        rates = {
            unit: (refit_loss(one, np.append(done, unit)) - found.losses[step]) / price[unit]
            for unit in set(range(5)) - set(done.tolist())
        }
        assert found.order[step] == min(rates, key=lambda unit: rates[unit])


def test_an_order_can_be_given() -> None:
    order = np.array([4, 0, 3, 1, 2])
    found = eliminate([reader(1)], np.ones(5), order)
    np.testing.assert_array_equal(found.order, order)
    np.testing.assert_allclose(found.losses[2], refit_loss(reader(1), order[:2]))


def test_many_units_go_several_at_a_time_and_their_joint_loss_is_exact() -> None:
    many = reader(0, units=600, span=1)
    found = eliminate([many], np.ones(600))
    assert sorted(found.order) == list(range(600))
    assert (np.diff(found.losses) >= 0).all()
    np.testing.assert_allclose(found.losses[300], refit_loss(many, found.order[:300]), rtol=1e-6)


def test_units_may_own_any_number_of_inputs_or_none() -> None:
    uneven = Reader(np.ones((1, 4)), np.eye(4), [np.array([0, 1, 2]), np.array([], int), np.array([3])], 1.0)
    found = eliminate([uneven], np.ones(3))
    np.testing.assert_array_equal(found.order, [1, 2, 0])
    np.testing.assert_allclose(found.losses, [0, 0, 1, 4])


def test_a_diagonal_metric_is_the_dense_one_without_what_is_off_the_diagonal() -> None:
    one = reader(5)
    diagonal = np.diag(one.metric)
    full, short = (Reader(one.weight, metric, one.columns, 1.0) for metric in (np.diag(diagonal), diagonal))
    a, b = eliminate([full], np.ones(5)), eliminate([short], np.ones(5))
    np.testing.assert_array_equal(a.order, b.order)
    np.testing.assert_allclose(a.losses, b.losses)


def test_it_may_end_once_enough_is_lost() -> None:
    whole = eliminate([reader(4)], np.ones(5))
    part = eliminate([reader(4)], np.ones(5), until=whole.losses[2])
    np.testing.assert_array_equal(part.order, whole.order[:3])
    np.testing.assert_array_equal(part.losses, whole.losses[:4])


def test_a_metric_that_rounding_has_left_indefinite() -> None:
    """A large mean in one direction, and less variance in another than the rounding errors of that mean."""
    whole = reader(5)
    mean = np.array([1.0] * 9 + [0.0])
    metric = 1e3 * np.outer(mean, mean) + np.diag([1.0] * 9 + [-1e-3])
    assert np.linalg.eigvalsh(metric)[0] < 0
    found = eliminate([replace(whole, metric=metric)], np.ones(5))
    assert np.isfinite(found.losses).all() and sorted(found.order) == [0, 1, 2, 3, 4]
