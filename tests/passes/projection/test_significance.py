"""Scores of filters; the least significant has the lowest."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from onnx_compress.passes.projection.significance import CRITERIA, READINGS

ROWS = np.array([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0], [5.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "order"),
    [("l1", [1, 3, 0, 2]), ("l2", [1, 0, 3, 2])],
)
def test_norms(name: str, order: list[int]) -> None:
    np.testing.assert_array_equal(np.argsort(CRITERIA[name](ROWS), kind="stable"), order)


def test_what_lies_between_the_others_goes_first_by_the_geometric_median() -> None:
    rows = np.array([[0.0, 10.0], [0.0, -10.0], [0.5, 0.0], [10.0, 0.0]])
    assert np.argmin(CRITERIA["fpgm"](rows)) == 2


@pytest.mark.parametrize(
    ("reading", "interval"),
    [
        ("tails", -NormalDist().inv_cdf(1 - 0.6662 / 2)),
        ("centre", NormalDist().inv_cdf(0.5 + 0.6662 / 2)),
        ("low", NormalDist().inv_cdf(0.6662)),
    ],
)
def test_the_interval_that_removes_two_thirds_of_gaussian_filters(reading: str, interval: float) -> None:
    rows = np.random.default_rng(0).normal(10, 1, (20_000, 1))
    assert abs((READINGS[reading](rows) < interval).mean() - 0.6662) < 0.01


@pytest.mark.parametrize("reading", READINGS)
def test_filters_of_one_norm_are_alike(reading: str) -> None:
    np.testing.assert_array_equal(READINGS[reading](np.eye(3)), np.zeros(3))
