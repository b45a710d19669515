"""Parts of calibration data: halves are disjoint, complete and spread over it; all say where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from builders import Images, Unlabelled
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.runtime.data import Input, Samples, load_data
from onnx_compress.runtime.subsets import Blocks, ChosenSamples, Slice, Subset, evenly, halves, held_out, spread


@dataclass(frozen=True)
class Numbers(Unlabelled):
    """The samples 0, 1, ...; a fixed batch is the only size the model takes."""

    samples: int
    fixed_batch: int | None = None

    def batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        step = self.fixed_batch or size
        for start in range(0, self.samples, step):
            yield {"x": np.arange(start, min(start + step, self.samples))}

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": rows}


def held(half: Blocks, size: int) -> list[int]:
    return [int(value) for batch in half.batches(size) for value in batch["x"]]


@given(st.integers(1, 300), st.integers(1, 100), st.sampled_from([None, 1, 7, 32]))
def test_every_sample_is_in_one_half(samples: int, size: int, fixed: int | None) -> None:
    data = Numbers(samples - samples % (fixed or 1), fixed)
    even, odd = halves(data)
    assert held(even, size) == even.rows().tolist()
    assert held(odd, size) == odd.rows().tolist()
    assert sorted(held(even, size) + held(odd, size)) == list(range(data.samples))
    assert even.samples + odd.samples == data.samples


@pytest.mark.parametrize("half", halves(Numbers(70, 7)))
def test_a_fixed_batch_stays_whole(half: Blocks) -> None:
    assert {len(batch["x"]) for batch in half.batches(128)} == {7}


@given(st.integers(1, 600), st.integers(1, 12), st.sampled_from([None, 1, 7]))
def test_every_sample_is_in_one_part(samples: int, every: int, fixed: int | None) -> None:
    data = Numbers(samples - samples % (fixed or 1), fixed)
    chosen, others = Blocks(data, every), Blocks(data, every, others=True)
    assert sorted([*chosen.rows(), *others.rows()]) == list(range(data.samples))
    assert held(chosen, 32) == chosen.rows().tolist()
    assert chosen.samples <= -(-data.samples // every) + 16


@pytest.mark.parametrize("count", [1, 7, 40, 100])
def test_a_few_are_spread_over_all(count: int) -> None:
    data = Images(np.arange(100, dtype=np.float32)[:40, None], np.repeat(np.arange(4), 10))
    found = evenly(data, count)
    assert found.samples == min(count, 40) and len(set(found.rows())) == found.samples
    labels = found.labels
    assert labels is not None and (count < 7 or set(labels) == {0, 1, 2, 3})


@pytest.mark.parametrize(("count", "expected"), [(3, 7), (7, 7), (20, 14), (500, 70)])
def test_a_few_are_whole_batches(count: int, expected: int) -> None:
    found = evenly(Numbers(70, 7), count)
    assert [len(batch["x"]) for batch in found.batches(2)] == [7] * (expected // 7)
    assert set(np.diff(found.rows())) <= {70 // expected}


def test_sorted_classes_are_in_both() -> None:
    assert {value // 256 for value in held(halves(Numbers(1024))[1], 64)} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "kind",
    [lambda d: Slice(d, 3, 20), lambda d: Blocks(d, 8, others=True), lambda d: ChosenSamples(d, np.array([7, 2, 9]))],
)
def test_a_part_has_the_labels_the_samples_and_the_batches_of_its_rows(kind: Callable[[Images], Subset]) -> None:
    data = Images(np.arange(40.0), np.arange(40) % 3)
    part = kind(data)
    rows = part.rows()
    assert part.samples == len(rows) and part.labels is not None
    assert part.labels.tolist() == (rows % 3).tolist()
    assert np.concatenate([batch["x"] for batch in part.batches(4)]).tolist() == rows.tolist()
    assert part.take(np.array([2, 0]))["x"].tolist() == rows[[2, 0]].tolist()
    assert part.description == data.description


def test_parts_of_other_rows_have_other_digests() -> None:
    data = Images(np.arange(40.0))
    parts = [Slice(data, 0, 10), Slice(data, 1, 10), *halves(data)]
    assert len({data.digest, *(part.digest for part in parts)}) == 5
    assert Slice(data, 0, 16).digest == ChosenSamples(data, np.arange(16)).digest


def test_parts_of_parts_keep_the_batch_size_that_the_model_takes() -> None:
    part = Slice(halves(Numbers(56, 7))[0], 0, 14)
    assert part.fixed_batch == 7 and {len(batch["x"]) for batch in part.batches(128)} == {7}


PARTS = [
    lambda d: Slice(d, 3, 40),
    lambda d: Blocks(d, 8, others=True),
    lambda d: ChosenSamples(d, np.arange(0, 50, 3)),
]


@pytest.mark.parametrize("kind", PARTS)
def test_a_batch_of_a_part_has_one_shape(kind: Callable[[Samples], Subset]) -> None:
    lines = [np.full((1, 1, 4, 4 + number // 5 % 3), number, np.float32) for number in range(50)]
    part = kind(load_data(lines, [Input("x", np.dtype(np.float32), (None, 1, 4, None))]))
    batches = [batch["x"] for batch in part.batches(4)]
    assert [int(row[0, 0, 0]) for batch in batches for row in batch] == part.rows().tolist()
    assert part.shapes is not None and part.shapes.tolist() == (part.rows() // 5 % 3).tolist()
    assert max(map(len, batches)) > 1


@pytest.mark.parametrize(
    ("samples", "expected"),
    [(10, 0), (32, 8), (64, 16), (128, 32), (256, 64), (512, 64), (1024, 128), (8192, 1024), (50_000, 1040)],
)
def test_an_eighth_is_held_out(samples: int, expected: int) -> None:
    fitting, judging = held_out(Numbers(samples))
    assert (0 if judging is None else judging.samples) == pytest.approx(expected, abs=16 * (samples > 10_000))
    assert fitting.samples + (0 if judging is None else judging.samples) == samples


@pytest.mark.parametrize("samples", [56, 70, 700])
def test_what_is_held_out_is_whole_batches(samples: int) -> None:
    for part in held_out(Numbers(samples, 7)):
        assert part is not None and {len(batch["x"]) for batch in part.batches(64)} == {7}


@pytest.mark.parametrize("samples", [1, 2, 50, 512])
def test_the_first_of_spread_samples_are_spread_over_all(samples: int) -> None:
    order = np.concatenate([batch["x"] for batch in spread(Images(np.arange(float(samples)))).batches(8)])
    assert sorted(order) == list(range(samples))
    for count in range(1, samples + 1):
        gaps = np.diff(np.sort(order[:count]), prepend=-1, append=samples)
        assert gaps.max() <= 3 * max(1, samples / count)


def test_samples_of_several_shapes_stay_in_their_order() -> None:
    lines = [np.full((1, 1, 4, 4 + number % 2), number, np.float32) for number in range(6)]
    data = load_data(lines, [Input("x", np.dtype(np.float32), (None, 1, 4, None))])
    assert spread(data) is data
