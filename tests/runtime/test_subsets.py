"""The two halves of calibration data are disjoint, complete, and spread over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.runtime.subsets import Half


@dataclass(frozen=True)
class Numbers:
    """The samples 0, 1, ...; a fixed batch is the only size the model takes."""

    samples: int
    fixed_batch: int | None = None

    def batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        step = self.fixed_batch or size
        for start in range(0, self.samples, step):
            yield {"x": np.arange(start, min(start + step, self.samples))}


def held(half: Half, size: int) -> list[int]:
    return [int(value) for batch in half.batches(size) for value in batch["x"]]


@given(st.integers(1, 300), st.integers(1, 100), st.sampled_from([None, 1, 7, 32]))
def test_every_sample_is_in_one_half(samples: int, size: int, fixed: int | None) -> None:
    data = Numbers(samples - samples % (fixed or 1), fixed)
    even, odd = Half(data), Half(data, odd=True)
    assert held(even, size) == even.rows().tolist()
    assert held(odd, size) == odd.rows().tolist()
    assert sorted(held(even, size) + held(odd, size)) == list(range(data.samples))
    assert even.samples + odd.samples == data.samples


@pytest.mark.parametrize("half", [Half(Numbers(70, 7)), Half(Numbers(70, 7), odd=True)])
def test_a_fixed_batch_stays_whole(half: Half) -> None:
    assert {len(batch["x"]) for batch in half.batches(128)} == {7}


def test_sorted_classes_are_in_both() -> None:
    assert {value // 256 for value in held(Half(Numbers(1024), odd=True), 64)} == {0, 1, 2, 3}
