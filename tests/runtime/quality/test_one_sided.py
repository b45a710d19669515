"""A classifier that says the same of nearly all samples is told of, where that means something."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.runtime.quality.one_sided import CommonestClass


def commonest(classes: np.ndarray, count: int = 20) -> float:
    rows = np.eye(count, dtype=np.float32)[classes]
    found = CommonestClass()
    for part in (rows[:10], rows[10:]):
        found.add({"y": part, "z": part[:, :3]}, {})
    return found.result().value


def test_the_share_of_the_commonest_class_over_batches():
    assert commonest(np.r_[np.full(30, 7), np.arange(10)]) == pytest.approx(31 / 40)
    assert commonest(np.arange(40) % 20) == pytest.approx(2 / 40)


def test_nothing_is_said_of_few_samples_and_of_few_classes():
    assert commonest(np.full(31, 7)) == commonest(np.zeros(40, int), 9) == 0


@pytest.mark.parametrize("output", [np.zeros((40, 20, 8, 8), np.float32), np.zeros((40, 1), np.int64)])
def test_nor_of_what_is_no_row_of_scores(output: np.ndarray):
    found = CommonestClass()
    found.add({"y": output}, {})
    assert found.result().value == 0
