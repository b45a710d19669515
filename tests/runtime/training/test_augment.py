from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.runtime.training.augment import augmented

IMAGES = np.arange(4 * 2 * 16 * 16, dtype=np.float32).reshape(4, 2, 16, 16)


@pytest.mark.parametrize("kind", ["none", "flip", "crop", "flip-crop", "flip-crop-mix"])
def test_the_same_numbers_give_the_same_images(kind):
    first, second = (augmented(IMAGES, kind, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert (first.shape, first.dtype) == (IMAGES.shape, IMAGES.dtype)


def test_a_flip_is_whole_and_of_some():
    images = np.repeat(IMAGES, 16, 0)
    found = augmented(images, "flip", np.random.default_rng(0))
    same = (found == images).all((1, 2, 3))
    flipped = (found == images[..., ::-1]).all((1, 2, 3))
    assert (same ^ flipped).all()
    assert 0 < same.sum() < len(images)


def test_a_crop_is_a_shift_of_all_channels_by_an_eighth_at_most():
    found = augmented(IMAGES, "crop", np.random.default_rng(1))
    for image, shifted in zip(IMAGES, found, strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), "edge")
        windows = [padded[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
        assert any(np.array_equal(shifted, window) for window in windows)
    assert not np.array_equal(found, IMAGES)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.uint8])
def test_a_mixture_is_of_two_images_and_mostly_of_the_first(kind):
    images = np.broadcast_to(np.array([0, 100], kind)[:, None, None, None], (2, 3, 16, 16)).repeat(64, 0)
    found = augmented(images, "flip-crop-mix", np.random.default_rng(0))
    assert found.dtype == kind
    assert (found == found[:, :1, :1, :1]).all()
    share = abs(found[:, 0, 0, 0].astype(float) - images[:, 0, 0, 0])
    assert share.max() <= 50
    assert 0 < np.count_nonzero(share) < 64  # half of 128 images, and half of those with one of their own value


def test_what_is_no_image_stays():
    rows = np.ones((4, 7), np.float32)
    assert augmented(rows, "flip-crop", np.random.default_rng(0)) is rows
