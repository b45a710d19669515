"""The elementwise step against a search over a fine grid."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.passes.projection.activation_split import PiecewiseLinear, convex_split, split

GRID = np.linspace(-12, 12, 24001)
ACTIVATIONS = [
    PiecewiseLinear(),
    PiecewiseLinear(0.0),
    PiecewiseLinear(0.0, 6.0),
    PiecewiseLinear(0.0, leak=0.2),
    PiecewiseLinear(-1.0, 2.0, 0.1),
]
values = st.floats(-8, 8)


def single(y: float, v: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([y]), np.array([v])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ACTIVATIONS), values, values, st.floats(0.05, 4))
def test_the_split_costs_no_more_than_any_point_of_a_grid(f: PiecewiseLinear, y: float, v: float, t: float) -> None:
    def cost(m: np.ndarray) -> np.ndarray:
        return np.square(f(np.array(y)) - f(m)) + t * np.square(m - v)

    found = split(f(np.array([y])), np.array([v]), t, f)
    assert cost(found)[0] <= cost(GRID).min() + 1e-9


def majorant(f: PiecewiseLinear, y: float, m: np.ndarray) -> np.ndarray:
    """Twice h: the workloads that y is beyond are gone."""
    low = f.low if y < f.low else -np.inf
    high = f.high if y > f.high else np.inf
    return np.square(f(np.array(y)) - PiecewiseLinear(low, high, f.leak)(m))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ACTIVATIONS), values, values, st.floats(0.05, 4))
def test_the_convex_split_minimises_a_convex_majorant(f: PiecewiseLinear, y: float, v: float, t: float) -> None:
    found = convex_split(*single(y, v), t, f)
    cost = majorant(f, y, found) + t * np.square(found - v)
    assert cost[0] <= (majorant(f, y, GRID) + t * np.square(GRID - v)).min() + 1e-9
    bound = majorant(f, y, GRID)
    assert np.all(bound >= np.square(f(np.array(y)) - f(GRID)) - 1e-9)
    assert np.all(np.diff(bound, 2) >= -1e-9)


def test_the_two_cases_of_the_relu() -> None:
    y, v = np.array([0.0, 0.0, 3.0, 3.0]), np.array([-2.0, 2.0, 2.0, -9.0])
    np.testing.assert_allclose(split(y, v, 1.0, PiecewiseLinear(0.0)), [-2.0, 1.0, 2.5, -9.0])
