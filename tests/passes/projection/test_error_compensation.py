"""Rounding in a metric: carried errors, and descent that never makes it worse."""

from __future__ import annotations

from itertools import pairwise

import builders
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.projection import grid
from onnx_compress.passes.projection.error_compensation import compensate_errors, coordinate_descent


def metric(size: int, seed: int) -> np.ndarray:
    rows = builders.normal(3 * size, size, seed=seed).astype(np.float64)
    rows[:, 1:] += 2 * rows[:, :1]
    return rows.T @ rows / len(rows)


def lost(weight: np.ndarray, rounded: np.ndarray, m: np.ndarray) -> float:
    return float(np.sum(((rounded - weight) @ m) * (rounded - weight)))


def halves(values: np.ndarray) -> np.ndarray:
    return np.rint(2 * values) / 2


def test_carry_is_the_feedback_of_an_integer_grid() -> None:
    weight, m = builders.normal(5, 70).astype(np.float64), metric(70, 1)
    scale = np.full(5, 0.5, np.float32)
    np.testing.assert_array_equal(compensate_errors(weight, m, halves), 0.5 * grid.feedback(weight, scale, m))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(0, 99))
def test_descent_never_makes_it_worse_and_ends_where_no_entry_can_be_moved(size: int, seed: int) -> None:
    weight, m = builders.normal(4, size, seed=seed).astype(np.float64), metric(size, seed)
    rounded = halves(weight)
    errors = [lost(weight, rounded, m)]
    for _ in range(30):
        rounded = coordinate_descent(weight, rounded, m, halves)
        errors.append(lost(weight, rounded, m))
    assert all(after <= before + 1e-9 for before, after in pairwise(errors))
    for step in (-0.5, 0.5):
        moved = rounded.copy()
        moved[0, size // 2] += step
        assert lost(weight, moved, m) >= lost(weight, rounded, m) - 1e-9


def test_in_the_identity_metric_both_are_plain_rounding() -> None:
    weight = builders.normal(4, 50).astype(np.float64)
    np.testing.assert_array_equal(compensate_errors(weight, np.eye(50), halves), halves(weight))
    np.testing.assert_array_equal(coordinate_descent(weight, np.zeros_like(weight), np.eye(50), halves), halves(weight))
