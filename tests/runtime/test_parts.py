from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.runtime.parts import Parts, batch_bounds, several_shapes

NARROW, WIDE = np.arange(12).reshape(3, 2, 2), np.arange(16).reshape(2, 2, 4)
PARTS = Parts([NARROW, NARROW + 100, WIDE])


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, 3), (2, 5), (3, 6), (0, 6)])
def test_slices_of_one_shape(start: int, stop: int):
    np.testing.assert_array_equal(PARTS[start:stop], np.concatenate([NARROW, NARROW + 100])[start:stop])


def test_slices_of_the_last_part():
    np.testing.assert_array_equal(PARTS[6:100], WIDE)
    np.testing.assert_array_equal(PARTS[7:], WIDE[1:])
    assert PARTS[3:3].shape == (0, 2, 2)
    assert len(PARTS) == 8 and [len(part) for part in PARTS.first(7).parts] == [3, 3, 1]


def test_which_samples_have_one_shape():
    found = several_shapes([PARTS, np.zeros(8)])
    assert found is not None and found.tolist() == [0] * 6 + [1] * 2
    assert several_shapes([PARTS.first(6)]) is None and several_shapes([NARROW]) is None
    both = several_shapes([PARTS, Parts([np.zeros((5, 1)), np.zeros((3, 2))])])
    assert both is not None and both.tolist() == [0] * 5 + [1] + [2] * 2


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 9))
def test_batches_hold_every_sample_once_and_one_shape_each(shapes: list[int], size: int):
    numbers = np.array(shapes)
    bounds = list(batch_bounds(len(shapes), size, numbers))
    assert [row for start, stop in bounds for row in range(start, stop)] == list(range(len(shapes)))
    assert all(0 < stop - start <= size and len(set(shapes[start:stop])) == 1 for start, stop in bounds)
    merged = [(a, b) for a, b in pairwise(bounds) if shapes[a[0]] == shapes[b[0]]]
    assert all(stop - start == size for (start, stop), _ in merged)
