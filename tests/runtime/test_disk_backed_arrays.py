"""Arrays in memory and in a file are read alike."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.disk_backed_arrays import DiskBackedArrays

ARRAYS = (
    np.arange(12, dtype=np.float32).reshape(3, 4).T,
    np.array([[True], [False]]),
    np.empty((0, 2), np.float16),
    np.array(7, np.int64),
    np.array(["a", "bc"], object),
)


@pytest.mark.parametrize("in_file", [(), (0, 2, 4), (0, 1, 2, 3, 4)])
def test_arrays_come_back_as_they_were(in_file: tuple[int, ...]) -> None:
    arrays = DiskBackedArrays()
    for index, array in enumerate(ARRAYS):
        arrays.add(array, index in in_file)
    for _ in range(2):
        for found, array in zip(arrays, ARRAYS, strict=True):
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(arrays[-5], ARRAYS[0])
    assert [part.dtype for part in arrays[1:3]] == [bool, np.float16]
    assert arrays.lengths == [4, 2, 0, 1, 2]


def test_shapes_are_told_without_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = DiskBackedArrays()
    for index, array in enumerate(ARRAYS):
        arrays.add(array, to_file=index < 2)
    monkeypatch.setattr(DiskBackedArrays, "_read", None)
    assert [arrays.shape(index) for index in range(len(ARRAYS))] == [array.shape for array in ARRAYS]
    arrays.drop(1)
    with pytest.raises(IndexError, match="array 1 was given up"):
        arrays.shape(1)


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("onnx_compress.runtime.disk_backed_arrays.tempfile.TemporaryFile", full)
    with pytest.raises(CompressError, match=r"No space left on device.*TMPDIR"):
        DiskBackedArrays().add(ARRAYS[0], True)


def test_what_lies_in_the_file_is_not_held() -> None:
    arrays = DiskBackedArrays()
    arrays.add(ARRAYS[0], True)
    assert arrays.held == 0
    arrays.add(ARRAYS[0])
    assert arrays.held == ARRAYS[0].nbytes
