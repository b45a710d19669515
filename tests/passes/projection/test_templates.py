"""Templates in a metric: planted ones found, steps that never lose more, equal shares kept."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.projection.fit import Fit, plain_fit
from onnx_compress.passes.projection.templates import templates, templates_order

SHAPE = (1, 3, 4)


def in_metric(weight: np.ndarray, seed: int = 0) -> Fit:
    rows = builders.normal(4 * weight.shape[1], weight.shape[1], seed=seed).astype(np.float64)
    rows[:, 1:] += rows[:, :1]
    metric = rows.T @ rows / len(rows)
    return Fit(weight, metric, np.zeros(len(metric)), np.zeros(len(weight)), float(np.sum(weight**2)))


def drawn(seed: int, filters: int = 7) -> Fit:
    return in_metric(builders.normal(filters, 12, seed=seed).astype(np.float64), seed)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.sampled_from(["greedy", "magnitude"]))
def test_the_curve_falls_from_all_to_nothing(seed: int, select: str) -> None:
    fit = drawn(seed)
    order, curve = templates_order(fit, SHAPE, select)
    assert sorted(order) == list(range(7))
    assert np.all(np.diff(curve) <= 1e-9)
    np.testing.assert_allclose([curve[0], curve[-1]], [np.sum((fit.weight @ fit.metric) * fit.weight), 0], atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.integers(1, 7), st.sampled_from([1, 3]))
def test_the_fit_loses_no_more_than_the_curve_says(seed: int, size: int, groups: int) -> None:
    fit, shape = drawn(seed), (groups, 3 // groups, 4)
    order, curve = templates_order(fit, shape, "greedy")
    assert fit.lost(templates(fit, shape, order[:size], equal=False).dense()) <= curve[size] + 1e-6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.integers(1, 7))
def test_equal_shares_are_kept(seed: int, size: int) -> None:
    fit = drawn(seed)
    found = templates(fit, SHAPE, np.arange(size), equal=True)
    assert np.bincount(found.choice, minlength=size).max() <= -(-7 // size)


def test_greedy_beats_magnitude_where_a_small_filter_explains_the_others() -> None:
    base = builders.normal(1, 3, 4).astype(np.float64)
    family = base * builders.normal(6, 1, 4, seed=1)
    stray = 2 * builders.normal(2, 3, 4, seed=2).astype(np.float64)
    fit = in_metric(np.concatenate([stray, family]).reshape(8, -1))
    greedy, magnitude = (templates_order(fit, SHAPE, select)[1] for select in ("greedy", "magnitude"))
    assert greedy[3] < 1e-6
    assert greedy[1] <= magnitude[1]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.sampled_from([1, 3]), st.integers(1, 7))
def test_no_metric_is_the_identity(seed: int, groups: int, size: int) -> None:
    plain = plain_fit(builders.normal(7, 12, seed=seed), None)
    identity, shape = replace(plain, gram=np.eye(12)), (groups, 3 // groups, 4)
    (order, curve), (also, same) = (templates_order(fit, shape, "greedy") for fit in (plain, identity))
    np.testing.assert_array_equal(order, also)
    np.testing.assert_allclose(curve, same, atol=1e-9)
    found, wanted = (templates(fit, shape, order[:size], equal=True).dense() for fit in (plain, identity))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.sampled_from([1, 3]))
def test_lost_energy_is_that_of_the_best_transforms(seed: int, groups: int) -> None:
    fit, shape = drawn(seed), (groups, 3 // groups, 4)
    order, curve = templates_order(fit, shape, "greedy")
    first = fit.weight[order[0]].reshape(shape)
    features = np.zeros((groups * 4, *shape))
    for group, tap in np.ndindex(groups, 4):
        features[group * 4 + tap, group, :, tap] = first[group, :, tap]
    root = np.linalg.cholesky(fit.metric).T
    seen, wanted = root @ features.reshape(-1, 12).T, root @ fit.weight.T
    missed = wanted - seen @ np.linalg.lstsq(seen, wanted)[0]
    assert curve[1] == pytest.approx(float(np.sum(missed**2)), rel=1e-6, abs=1e-7 * curve[0])
