"""What an error in a channel is held against."""

from __future__ import annotations

import numpy as np
import pytest
from builders import normal
from onnx_compress.passes.finetuning.channels import channel_scale


def test_boxes_and_scores_count_alike() -> None:
    scale = np.float32([100, 100, 1, 0.01]).reshape(1, 1, 4)
    there = scale * normal(8, 50, 4)
    here = there + 0.1 * scale * normal(8, 50, 4, seed=1)
    held = channel_scale(here, there)
    assert held.shape == (1, 1, 4)
    counted = ((here - there) ** 2 / held).mean(axis=(0, 1))
    assert counted == pytest.approx(counted.mean(), rel=0.3)


def test_no_channel_counts_more_than_one_that_is_lost() -> None:
    there = normal(8, 3, 5, 5) * np.float32([1, 1e-6, 1]).reshape(1, 3, 1, 1)
    here = there + normal(8, 3, 5, 5, seed=1) * np.float32(0.5)
    assert ((here - there) ** 2 / channel_scale(here, there)).mean(axis=(0, 2, 3)).max() <= 1 + 1e-5


def test_without_channels_it_is_a_number() -> None:
    assert channel_scale(normal(6), 2 * normal(6)).size == 1
