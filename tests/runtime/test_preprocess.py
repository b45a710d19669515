from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.runtime.preprocess import PRESETS, Preprocess, parse_preprocess


def test_values_are_normalised_per_channel():
    pixels = np.array([[[[0, 51, 255]]]], np.uint8)
    values = Preprocess((0.0, 0.1, 0.5), (1.0, 0.1, 0.5)).values(pixels)
    assert values.dtype == np.float32
    assert values.ravel() == pytest.approx([0.0, 1.0, 1.0], abs=1e-6)


def test_none_keeps_pixels():
    assert PRESETS["none"].values(np.array([[[[7]]]], np.uint8)).item() == 7.0


@pytest.mark.parametrize("text", ["mean=0.1,0.2,0.3:std=0.4,0.5,0.6:size=16:crop=12", "mean=0.1/0.2/0.3", "crop=4"])
def test_spec_round_trip(text: str):
    parsed = parse_preprocess(text)
    assert parse_preprocess(str(parsed)) == parsed


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip(name: str):
    assert parse_preprocess(str(parse_preprocess(name))) == PRESETS[name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cifar", "did you mean 'cifar10'"),
        ("means=1", "did you mean 'mean'"),
        ("mean=a", "numbers joined by commas"),
        ("std=0", "std positive"),
        ("mean=nan", "mean must be finite"),
        ("size=0", "1 to 8192"),
        ("crop=2.5", "whole number"),
        ("size=8:crop=9", "exceeds"),
        ("mean=1,2:std=1,2,3", "differ in length"),
    ],
)
def test_bad_specs(text: str, words: str):
    with pytest.raises(UsageError, match=words):
        parse_preprocess(text)


def test_resize_keeps_the_aspect_and_crop_is_central():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 10:] = 200
    framed = Preprocess(size=5, crop=4).frame(image)
    assert framed.shape == (4, 4, 3)
    assert framed[0, 0, 0] == 0 and framed[0, -1, 0] == 200


def test_crop_larger_than_the_image():
    with pytest.raises(CompressError, match="smaller than crop=9"):
        Preprocess(crop=9).frame(np.zeros((8, 8, 3), np.uint8))
