"""Free inputs beside structured ones: the closed form is the joint optimum."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.passes.projection.fit import Fit
from onnx_compress.passes.projection.lowrank import lowrank
from onnx_compress.passes.projection.partition import Partition, input_scores, output_scores, rows_of


def fitted(outputs: int = 5, inputs: int = 12, seed: int = 0) -> Fit:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((inputs, inputs))
    metric = root @ root.T / inputs + 0.1 * np.eye(inputs)
    mean_x, mean_y = rng.standard_normal(inputs), rng.standard_normal(outputs)
    return Fit(rng.standard_normal((outputs, inputs)), metric, mean_x, mean_y, 1.0)


@pytest.mark.parametrize("rank", [1, 3])
def test_what_the_reduced_fit_loses_is_what_the_whole_weight_loses(rank: int) -> None:
    fit, parts = fitted(), Partition.of(np.array([0, 2]), 4, 3)
    basis, mixture = lowrank(parts.reduced(fit), rank)
    low = mixture @ basis
    assert fit.lost(parts.joined(fit, low)) == pytest.approx(parts.reduced(fit).lost(low))


def test_no_other_free_part_loses_less() -> None:
    fit, parts = fitted(), Partition.of(np.array([1]), 4, 3)
    low = np.zeros((5, 9))
    best = parts.joined(fit, low)
    moves = np.random.default_rng(1).standard_normal((20, 5, 3))
    for move in moves:
        moved = best.copy()
        moved[:, parts.free] += 0.1 * move
        assert fit.lost(moved) > fit.lost(best)


def test_without_free_inputs_the_fit_is_its_own() -> None:
    fit = fitted()
    parts = Partition.of(np.array([], int), 4, 3)
    assert parts.reduced(fit) is fit
    np.testing.assert_array_equal(parts.joined(fit, 0 * fit.weight), 0 * fit.weight)


def test_scores_are_what_one_group_takes_off_the_error() -> None:
    fit = fitted()
    basis, mixture = lowrank(fit, 1)
    error = fit.weight - mixture @ basis
    scores = input_scores(fit, error, 3)
    for channel, score in enumerate(scores):
        parts = Partition.of(np.array([channel]), 4, 3)
        low = (mixture @ basis)[:, parts.others]
        assert fit.lost(parts.joined(fit, low)) == pytest.approx(fit.lost(mixture @ basis) - score)
    assert output_scores(fit, error).sum() == pytest.approx(fit.lost(mixture @ basis))


def test_rows_of_a_fit() -> None:
    fit, kept = fitted(), np.array([0, 3])
    np.testing.assert_allclose(rows_of(fit, kept).bias(fit.weight[kept]), fit.bias(fit.weight)[kept])
