"""Q/DQ pairs."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, run
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.graph.quantization.quantizers import Grid

PAIR = "g (float[N] x) => (float[N] y) { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"


def rounded(grid: Grid, x: np.ndarray) -> np.ndarray:
    return grid.values(grid.codes(x))


@given(st.floats(1e-3, 10), st.integers(0, 255), st.lists(st.floats(-500, 500, width=32), min_size=1))
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_a_grid_rounds_as_onnxruntime_does(kind: type, scale: float, zero: int, values: list[float]):
    grid = Grid(scale, np.array(zero).astype(kind)[()])
    x = np.array(values, np.float32)
    pair = model(PAIR, s=np.float32(scale), z=grid.zero)
    np.testing.assert_array_equal(rounded(grid, x), run(pair, x=x)["y"])


def test_a_grid_is_symmetric_unless_it_has_a_zero_point():
    x = np.array([0.05, 0.15, -0.25, 99.0, -99.0], np.float32)
    np.testing.assert_allclose(rounded(Grid(0.1), x), [0.0, 0.2, -0.2, 12.7, -12.8], atol=1e-6)
    np.testing.assert_allclose(rounded(Grid(0.1, np.uint8(1)), x), [0.0, 0.2, -0.1, 25.4, -0.1], atol=1e-6)
