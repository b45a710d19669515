"""Kernels in a common one: outputs of one length whatever the input's length, and every tap in its place."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.passes.merging.windows import Window, common_window


@st.composite
def windows(draw: st.DrawFn) -> Window:
    size = draw(st.integers(1, 4))
    dilation = draw(st.integers(1, 3)) if size > 1 else 1
    return Window(size, dilation, draw(st.integers(0, 4)), draw(st.integers(0, 4)))


def length(window: Window, size: int, stride: int) -> int:
    """By the definition of ONNX."""
    extent = window.dilation * (window.size - 1) + 1
    return (size + window.begin + window.end - extent) // stride + 1


def reads(window: Window) -> list[int]:
    return [window.dilation * tap - window.begin for tap in range(window.size)]


@given(st.lists(windows(), min_size=1, max_size=3))
def test_the_common_kernel_has_the_taps_of_all(every: list[Window]):
    common = common_window(every)
    lengths = {tuple(length(window, size, 1) for size in range(20, 26)) for window in every}
    if common is None:
        assert len(lengths) > 1
        return
    assert lengths == {tuple(length(common, size, 1) for size in range(20, 26))}
    taken = reads(common)
    for window in every:
        assert [taken[place] for place in window.places(common)] == reads(window)
    assert taken[0] == min(reads(window)[0] for window in every)
    assert taken[-1] == max(reads(window)[-1] for window in every)


@given(st.lists(windows(), min_size=2, max_size=3), st.integers(1, 3))
def test_lengths_agree_with_any_stride(every: list[Window], stride: int):
    common = common_window(every)
    if common is not None:
        for size in range(20, 30):
            assert len({length(window, size, stride) for window in (*every, common)}) == 1


def test_a_point_stands_in_the_middle_of_a_padded_kernel():
    one, three = Window(1, 1, 0, 0), Window(3, 1, 1, 1)
    assert common_window([one, three]) == three
    assert one.places(three) == [1]


def test_a_point_stands_in_the_middle_of_a_dilated_kernel():
    one, three = Window(1, 1, 0, 0), Window(3, 6, 6, 6)
    assert common_window([one, three]) == three
    assert one.places(three) == [1]


def test_kernels_with_two_dilations_meet_at_their_divisor():
    common = common_window([Window(3, 4, 4, 4), Window(3, 6, 6, 6)])
    assert common == Window(7, 2, 6, 6)
    np.testing.assert_array_equal(Window(3, 4, 4, 4).places(common), [1, 3, 5])
