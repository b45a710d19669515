"""Figures against those computed at once, by hand; boxes and scores in one tensor count alike."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
from builders import normal
from onnx_compress.runtime.quality.comparison import (
    Accuracy,
    Agreement,
    Comparison,
    Judged,
    PixelAgreement,
)
from onnx_compress.runtime.quality.distances import NormalisedError


def judged(
    comparison: Comparison, reference: dict[str, np.ndarray], other: dict[str, np.ndarray], step: int = 7
) -> Judged:
    count = len(next(iter(reference.values())))
    for start in range(0, count, step):
        parts = ({name: value[start : start + step] for name, value in side.items()} for side in (reference, other))
        comparison.add(*parts)
    return comparison.result()


def test_agreement_is_of_the_chosen_class() -> None:
    a, b = normal(50, 4), normal(50, 4, seed=1)
    found = judged(Agreement(), {"y": a}, {"y": b})
    share = float((a.argmax(1) == b.argmax(1)).mean())
    assert (found.value, found.loss, found.samples) == (pytest.approx(share), pytest.approx(1 - share), 50)
    assert found.deviation == pytest.approx(sqrt(share * (1 - share) / 50), rel=0.1)
    assert found.bound > found.loss


def test_all_of_a_few_samples_is_not_certainty() -> None:
    a = normal(20, 4)
    found = judged(Agreement(), {"y": a}, {"y": a})
    assert (found.value, found.deviation) == (1.0, pytest.approx(0.0564, rel=0.01))


def test_of_several_heads_it_is_the_mean_with_each_beside() -> None:
    a, b = normal(50, 4), normal(50, 4, seed=1)
    found = judged(Agreement(), {"y": a, "z": b}, {"y": a, "z": -b})
    assert found.outputs == {"y": 0.0, "z": 1.0}
    assert found.value == 0.5


def test_pixels_have_the_spread_of_samples() -> None:
    a, b = normal(20, 4, 6, 6), normal(20, 4, 6, 6, seed=1)
    found = judged(PixelAgreement(), {"y": a}, {"y": b})
    shares = (a.argmax(1) == b.argmax(1)).mean(axis=(1, 2))
    assert found.value == pytest.approx(shares.mean())
    assert found.deviation == pytest.approx(shares.std(ddof=1) / sqrt(20))


def test_accuracy_loses_what_the_original_has_more() -> None:
    a, labels = normal(60, 4), np.arange(60) % 4
    a[np.arange(60), labels] += 2
    b = np.where(np.arange(60)[:, None] < 15, -a, a)
    found = judged(Accuracy(labels), {"y": a}, {"y": b})
    before, after = ((side.argmax(1) == labels).mean() for side in (a, b))
    assert (found.value, found.loss) == (pytest.approx(after), pytest.approx(before - after))


def test_boxes_do_not_outweigh_scores() -> None:
    """The scores are ruined; relative to the whole tensor that is nothing."""
    boxes, scores = 300 * normal(16, 90, 4), 0.1 * normal(16, 90, 2, seed=1)
    a = np.concatenate([boxes, scores], axis=2)
    ruined = np.concatenate([boxes, 0.1 * normal(16, 90, 2, seed=2)], axis=2)
    found = judged(NormalisedError(), {"y": a}, {"y": ruined})
    assert np.linalg.norm(a - ruined) / np.linalg.norm(a) < 0.01
    assert found.value == pytest.approx(sqrt(2 / 6), rel=0.05)


@pytest.mark.parametrize("shape", [(40, 6), (40, 3, 5, 5), (40, 50, 3), (40,)])
def test_the_error_is_relative_to_what_a_channel_moves(shape: tuple[int, ...]) -> None:
    a = normal(*shape)
    noise = normal(*shape, seed=1)
    found = judged(NormalisedError(), {"y": a}, {"y": a + 0.3 * noise})
    assert found.value == pytest.approx(0.3, rel=0.25)
    assert judged(NormalisedError(), {"y": a + 1000}, {"y": a + 1000 + 0.3 * noise}).value == pytest.approx(
        found.value, rel=0.02
    )
    assert judged(NormalisedError(), {"y": 7 * a}, {"y": 7 * (a + 0.3 * noise)}).value == pytest.approx(
        found.value, rel=1e-4
    )


@pytest.mark.parametrize("make", [Agreement, PixelAgreement, NormalisedError])
def test_the_original_loses_nothing(make: Callable[[], Comparison]) -> None:
    a = normal(10, 4, 3, 3) if make is PixelAgreement else normal(10, 4)
    found = judged(make(), {"y": a}, {"y": a.copy()})
    assert found.loss == 0


def test_a_constant_output_that_stays_constant_loses_nothing() -> None:
    a = np.ones((10, 4), np.float32)
    assert judged(NormalisedError(), {"y": a}, {"y": a}).value == 0


def test_channels_are_those_of_the_axis_that_all_batches_share() -> None:
    """Lines of text of many widths: fewer steps than classes in some, more in others."""
    comparison, shapes = NormalisedError(), [(4, 5, 12), (4, 30, 12), (4, 9, 12)]
    for seed, shape in enumerate(shapes):
        batch = np.where(np.arange(12) < 4, 100, 1) * normal(*shape, seed=seed)
        comparison.add({"y": batch}, {"y": np.where(np.arange(12) == 11, 0, batch)})
    found = comparison.result()
    assert found.value == pytest.approx(sqrt(1 / 12), rel=0.1) and found.samples == 12


def test_outputs_of_no_common_size_have_one_channel() -> None:
    comparison = NormalisedError()
    for seed, shape in enumerate([(4, 5, 12), (4, 6, 11), (4, 7, 10)]):
        a = normal(*shape, seed=seed)
        comparison.add({"y": a}, {"y": 0.5 * a})
    assert comparison.result().value == pytest.approx(0.5, rel=0.05)


def test_numbers_without_axes_are_compared_too() -> None:
    comparison = NormalisedError()
    for value in (1.0, 3.0):
        comparison.add({"y": np.array(value)}, {"y": np.array(value + 0.5)})
    assert comparison.result().value == pytest.approx(0.5)


@pytest.mark.parametrize("make", [PixelAgreement, NormalisedError])
def test_of_a_single_sample_no_spread_is_known(make: Callable[[], Comparison]) -> None:
    found = judged(make(), {"y": normal(1, 6, 4, 4)}, {"y": normal(1, 6, 4, 4, seed=1)})
    assert found.deviation is None and found.bound == found.loss


def test_budgets_hold_the_mean_and_twice_as_much_of_the_worst_output():
    alike = Judged("error", 0.1, 0.1, outputs={"boxes": 0.1, "scores": 0.1})
    uneven = Judged("error", 0.1, 0.1, outputs={"boxes": 0.01, "scores": 0.4})
    assert (alike.held, uneven.held, Judged("error", 0.1, 0.1).held) == (0.1, 0.2, 0.1)
