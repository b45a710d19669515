"""Codebooks: exact where they can be, near the best k-means where that is known, better in the metric than without."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.projection import codebook as module
from onnx_compress.passes.projection.codebook import codebook, kmeans, nearest_codes, table_sizes
from onnx_compress.passes.projection.fit import Fit, best_fit, plain_fit


def fit_in_metric(outputs: int = 6, inputs: int = 20, seed: int = 0) -> Fit:
    x = builders.normal(400, inputs, seed=seed).astype(np.float64)
    x[:, 1:] += 2 * x[:, :1]
    weight = builders.normal(outputs, inputs, seed=seed + 1).astype(np.float64)
    rows = np.hstack([x, np.ones((400, 1))])
    y = x @ weight.T
    return best_fit(rows.T @ rows / 400, y.T @ rows / 400, float(np.vdot(y, y)) / 400, weight, 1e-3)


def best_split(values: np.ndarray, weights: np.ndarray, size: int) -> float:
    """The smallest weighted squared error of `size` intervals, by trying all."""
    order = np.argsort(values)
    v, w = values[order], weights[order]

    def error(low: int, high: int) -> float:
        mean = np.average(v[low:high], weights=w[low:high])
        return float(np.sum(w[low:high] * (v[low:high] - mean) ** 2))

    cuts = [(0, *inner, len(v)) for inner in combinations(range(1, len(v)), size - 1)]
    return min(sum(error(a, b) for a, b in pairwise(cut)) for cut in cuts)


def weighted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return builders.normal(14, seed=seed), np.abs(builders.normal(14, seed=seed + 1)) + 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(2, 4))
def test_every_centre_is_the_mean_of_its_values(seed: int, size: int) -> None:
    values, weights = weighted(seed)
    centres = kmeans(values, weights, size)
    codes = nearest_codes(values, centres)
    assert np.all(np.diff(centres) >= 0)
    for code in np.unique(codes):
        mine = codes == code
        assert centres[code] == pytest.approx(np.average(values[mine], weights=weights[mine]), abs=1e-5)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_kmeans_is_near_the_best_intervals_on_average(size: int) -> None:
    """Lloyd's iteration ends in a local optimum, at times a poor one."""
    ratios: list[float] = []
    for seed in range(40):
        values, weights = weighted(seed)
        centres = kmeans(values, weights, size)
        error = np.sum(weights * (values - centres[nearest_codes(values, centres)]) ** 2)
        ratios.append(float(error) / best_split(values, weights, size))
    assert min(ratios) >= 1 - 1e-6
    assert np.mean(ratios) < 1.4


def test_many_entries_reach_the_error_of_the_best_quantizer_of_normal_values() -> None:
    values = builders.normal(100_000).astype(np.float64)
    centres = kmeans(values, np.ones_like(values), 16)
    assert np.mean((values - centres[nearest_codes(values, centres)]) ** 2) == pytest.approx(0.009497, rel=0.03)


def test_few_different_values_are_kept_exactly() -> None:
    weight = np.random.default_rng(0).choice([-1.5, 0.0, 0.25, 3.0], size=(5, 30))
    shared = codebook([plain_fit(weight, None)], 4, scaled=False)
    np.testing.assert_array_equal(shared.dense()[0], weight)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("fit", [fit_in_metric(40, 50), plain_fit(builders.normal(40, 50), None)])
def test_values_gathered_in_bins_have_the_same_centres(fit: Fit, scaled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = codebook([fit, fit], 16, scaled, rounds=0)
    monkeypatch.setattr(module, "MANY", 100)
    monkeypatch.setattr(module, "AT_ONCE", 300)
    gathered = codebook([fit, fit], 16, scaled, rounds=0)
    np.testing.assert_allclose(gathered.entries, whole.entries, atol=1e-4)
    assert gathered.lost([fit, fit]) == pytest.approx(whole.lost([fit, fit]), rel=1e-3)


@pytest.mark.parametrize("values", [[0.5], [-1.5, 0.1, 0.1 + 1e-9, 3.0]])
def test_few_different_values_are_kept_exactly_among_many(values: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 100)
    weight = np.random.default_rng(0).choice(values, size=(5, 30))
    shared = codebook([plain_fit(weight, None)], 4, scaled=False)
    np.testing.assert_array_equal(shared.dense()[0], weight)


@pytest.mark.parametrize("scaled", [False, True])
def test_without_data_no_metric_is_formed(scaled: bool) -> None:
    """It would have the square of a layer's inputs."""
    fit = plain_fit(builders.normal(2, 100_000), None)
    shared = codebook([fit], 16, scaled)
    assert "metric" not in vars(fit)
    assert fit.lost(shared.dense()[0]) < 0.02 * fit.signal


def test_without_data_codes_are_those_of_descent() -> None:
    weight = builders.normal(6, 40)
    plain, same = plain_fit(weight, None), replace(plain_fit(weight, None), gram=np.eye(40))
    one, two = (codebook([fit], 8, scaled=True) for fit in (plain, same))
    np.testing.assert_allclose(one.dense()[0], two.dense()[0], atol=1e-9)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_metric_is_used(scaled: bool) -> None:
    fit = fit_in_metric()
    plain = codebook([plain_fit(fit.weight, None)], 6, scaled)
    fitted = codebook([fit], 6, scaled)
    assert fitted.lost([fit]) < 0.5 * fit.lost(plain.dense()[0])


def test_groups_share_one_codebook() -> None:
    fits = [fit_in_metric(seed=0), fit_in_metric(seed=5)]
    shared = codebook(fits, 8, scaled=False)
    assert len(np.unique(np.concatenate(shared.dense()))) <= 8
    assert shared.lost(fits) > 0


def test_scales_make_up_for_filters_of_different_size() -> None:
    weight = builders.normal(8, 40).astype(np.float64)
    fits = [plain_fit(weight * (10.0 ** np.arange(-4, 4))[:, None], None)]
    unit = (fits[0].weight - codebook(fits, 8, scaled=True).dense()[0]) / (10.0 ** np.arange(-4, 4))[:, None]
    assert np.sum(unit**2) < 0.1 * np.sum(weight**2)


def test_a_filter_of_zeros_stays_a_number() -> None:
    weight = builders.normal(3, 40).astype(np.float64)
    weight[1] = 0
    assert np.isfinite(codebook([plain_fit(weight, None)], 4, scaled=True).dense()[0]).all()


@given(st.lists(st.integers(100, 10**6), min_size=1, max_size=8), st.integers(2, 256))
def test_codebooks_keep_to_their_share(counts: list[int], most: int) -> None:
    sizes = table_sizes(counts, most, 0.02)
    assert all(min(32, most) <= size <= most for size in sizes)
    if any(size > min(32, most) for size in sizes):
        assert 4 * sum(sizes) <= 0.02 * sum(counts) + 4 * 32 * len(counts)


def test_larger_layers_get_larger_codebooks() -> None:
    small, middle, large = table_sizes([2304, 9216, 36864], 256, 0.02)
    assert 32 <= small <= middle < large <= 256
    assert table_sizes([10**7], 256, 0.02) == [256]
