"""Rank-r weights in a metric, against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.projection.fit import Fit, plain_fit
from onnx_compress.passes.projection.lowrank import lowrank, lowrank_curve


def random_fit(outputs: int, inputs: int, seed: int) -> Fit:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((inputs, inputs))
    weight = rng.standard_normal((outputs, inputs))
    metric = root @ root.T + 0.1 * np.eye(inputs)
    signal = float(np.sum((weight @ metric) * weight))
    return Fit(weight, metric, np.zeros(inputs), np.zeros(outputs), signal)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 10), st.integers(0, 10**6))
def test_the_curve_is_the_loss_of_the_projection_at_every_rank(outputs: int, inputs: int, seed: int) -> None:
    fit = random_fit(outputs, inputs, seed)
    curve = lowrank_curve(fit)
    assert len(curve) == outputs + 1
    for rank in range(outputs + 1):
        v, u = lowrank(fit, rank)
        np.testing.assert_allclose(fit.lost(u @ v), curve[rank], atol=1e-7 * fit.signal)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_no_other_weight_of_that_rank_loses_less(seed: int, rank: int) -> None:
    """Brute force: the SVD of W* L, with M = L L^T, is the optimum (Eckart and Young, 1936)."""
    fit = random_fit(4, 6, seed)
    root = np.linalg.cholesky(fit.metric)
    left, values, right = np.linalg.svd(fit.weight @ root, full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank] @ np.linalg.inv(root)
    v, u = lowrank(fit, rank)
    np.testing.assert_allclose(u @ v, best, atol=1e-6)


def test_without_a_metric_it_is_the_truncated_svd() -> None:
    weight = np.random.default_rng(0).standard_normal((5, 9))
    v, u = lowrank(plain_fit(weight, None), 2)
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    np.testing.assert_allclose(u @ v, (left[:, :2] * values[:2]) @ right[:2], atol=1e-10)
