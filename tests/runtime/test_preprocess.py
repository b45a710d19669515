from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.runtime.preprocess import PRESETS, Preprocess, parse_preprocess

RAINBOW = np.array([[[[0, 51, 255]]]], np.uint8)


def values(spec: str, pixels: np.ndarray = RAINBOW) -> list[float]:
    found = parse_preprocess(spec).values(pixels)
    assert found.dtype == np.float32
    return found.ravel().tolist()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("unit", [0, 0.2, 1]),
        ("none", [0, 51, 255]),
        ("scale=1", [0, 51, 255]),
        ("tf", [-1, -0.6, 1]),
        ("yolox", [255, 51, 0]),
        ("yolov5", [0, 0.2, 1]),
        ("bgr", [1, 0.2, 0]),
        ("bgr=true", [1, 0.2, 0]),
        ("yolox:bgr=false", [0, 51, 255]),
        ("scale=51", [0, 1, 5]),
        ("scale=51:mean=1:std=2", [-0.5, 0, 2]),
        ("scale=1:mean=127.5:std=127.5", [-1, -0.6, 1]),
        ("mean=0,0.1,0.5:std=1,0.1,0.5", [0, 1, 1]),
        ("bgr:scale=1:mean=55,50,1", [200, 1, -1]),
        ("none:mean=1,2,3", [-1, 49, 252]),
    ],
)
def test_values(spec: str, expected: list[float]):
    assert values(spec) == pytest.approx(expected, abs=1e-5)


def test_the_fourth_channel_stays_last():
    assert values("bgr:scale=1", np.array([[1, 2, 3, 4]], np.uint8)) == [3, 2, 1, 4]


def test_none_keeps_pixels():
    assert PRESETS["none"].values(np.array([[[[7]]]], np.uint8)).item() == 7.0


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip(name: str):
    assert parse_preprocess(str(parse_preprocess(name))) == PRESETS[name]


SIDES = st.integers(1, 8192)
NUMBERS = st.floats(-1e3, 1e3)
POSITIVE = st.floats(1e-2, 1e2)


@st.composite
def preprocesses(draw: st.DrawFn) -> Preprocess:
    """Any that a spec can spell."""
    count = draw(st.sampled_from([1, 3, 4]))
    mean, std = (tuple(draw(st.lists(each, min_size=count, max_size=count))) for each in (NUMBERS, POSITIVE))
    scale, bgr, size = draw(st.sampled_from([1.0, 255.0, 127.5])), draw(st.booleans()), draw(st.tuples(SIDES, SIDES))
    form = draw(st.sampled_from(["none", "cover", "crop", "resize", "letterbox"]))
    if form == "letterbox":
        corner, pad = draw(st.sampled_from(["top-left", "centre"])), draw(st.integers(0, 255))
        return Preprocess(mean, std, draw(st.sampled_from([None, size])), None, scale, bgr, corner, pad)
    crop = (draw(st.integers(1, size[0])), draw(st.integers(1, size[1]))) if form in ("crop", "resize") else None
    return Preprocess(mean, std, None if form == "none" else size, crop, scale, bgr, resize=form == "resize")


@given(preprocesses())
def test_spec_round_trip(preprocess: Preprocess):
    assert parse_preprocess(str(preprocess)) == preprocess


@pytest.mark.parametrize(
    ("spec", "written_out"),
    [
        ("mean=0.1/0.2/0.3", "mean=0.1,0.2,0.3:std=1.0"),
        ("crop=4", "mean=0.0:std=1.0:crop=4"),
        ("none:size=320", "mean=0.0:std=1.0:scale=1.0:size=320"),
        ("size=416:letterbox:bgr:scale=1", str(PRESETS["yolox"].sized((416, 416)))),
        ("yolox:size=320x640:pad=0", "mean=0.0:std=1.0:scale=1.0:size=320x640:bgr:letterbox:pad=0"),
        ("yolov5:letterbox=top-left", "mean=0.0:std=1.0:letterbox"),
        ("letterbox=center", "mean=0.0:std=1.0:letterbox=centre"),
        ("yolox:letterbox=false:size=8", "mean=0.0:std=1.0:scale=1.0:size=8:bgr"),
        ("yolox:resize", "mean=0.0:std=1.0:scale=1.0:resize:bgr"),
        ("unit:size=20x30:crop=10x30", "mean=0.0:std=1.0:size=20x30:crop=10x30"),
    ],
)
def test_specs_written_out(spec: str, written_out: str):
    assert str(parse_preprocess(spec)) == written_out


def test_presets_are_extended():
    assert parse_preprocess("imagenet:size=320:crop=320").crop == (320, 320)
    assert parse_preprocess("imagenet:size=320:crop=320").mean == PRESETS["imagenet"].mean


@pytest.mark.parametrize("word", ["resize", "letterbox"])
def test_another_way_to_size_pictures_replaces_that_of_the_preset(word: str):
    changed = parse_preprocess(f"imagenet:{word}")
    assert (changed.size, changed.crop, changed.mean) == (None, None, PRESETS["imagenet"].mean)
    assert parse_preprocess("yolov5:resize").letterbox is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cifar", "did you mean 'cifar10'"),
        ("", "unknown preset ''"),
        ("leterbox:size=3", "did you mean 'letterbox'"),
        ("means=1", "did you mean 'mean'"),
        ("none:sizes=3", "did you mean 'size'"),
        ("size=8:", "unknown key ''"),
        ("size=8:imagenet", "'imagenet' comes late"),
        ("size=8:size=9", "size is given twice"),
        ("loader.py:batches", "looks like a function"),
        ("package.loader:batches", "looks like a function"),
        ("mean=a", "numbers joined by commas"),
        ("mean", "numbers joined by commas"),
        ("std=0", "std positive"),
        ("mean=nan", "mean must be finite"),
        ("size", "1 to 8192"),
        ("size=0", "1 to 8192"),
        ("size=8x", "height x width"),
        ("size=8x8x8", "height x width"),
        ("crop=2.5", "whole number"),
        ("size=8:crop=9", "exceeds"),
        ("size=8x9:crop=9x8", "crop 9x8 exceeds size 8x9"),
        ("imagenet:size=128", "crop 224 exceeds size 128"),
        ("mean=1,2:std=1,2,3", "differ in length"),
        ("scale=0", "keep pixels 0 to 255"),
        ("scale=nan", "keep pixels 0 to 255"),
        ("scale=1,2", "numbers"),
        ("scale", "numbers"),
        ("letterbox=left", "letterbox alone, or one of top-left, centre"),
        ("bgr=1", "bgr alone, or one of true, false"),
        ("letterbox:resize", "exclude each other"),
        ("letterbox:crop=8", "nothing to crop"),
        ("resize:crop=8", "nothing to crop"),
        ("letterbox:pad=256", "a pixel, 0 to 255"),
        ("letterbox:pad", "a pixel, 0 to 255"),
        ("pad=3", "pad is for letterbox"),
        ("yolox:resize:pad=3", "pad is for letterbox"),
    ],
)
def test_bad_specs(text: str, words: str):
    with pytest.raises(UsageError, match=words):
        parse_preprocess(text)


HALVES = np.zeros((10, 20, 3), np.uint8)
HALVES[:, 10:] = 200


def test_resize_keeps_the_aspect_and_crop_is_central():
    framed = parse_preprocess("size=5:crop=4").frame(HALVES)
    assert framed.shape == (4, 4, 3)
    assert framed[0, 0, 0] == 0 and framed[0, -1, 0] == 200


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("size=5", (5, 10)),
        ("size=5x5", (5, 10)),
        ("size=4x12", (6, 12)),
        ("size=12x4", (12, 24)),
        ("size=4x12:crop=4x12", (4, 12)),
        ("size=8:resize", (8, 8)),
        ("size=8x6:resize", (8, 6)),
        ("size=8:resize:crop=6x4", (6, 4)),
        ("size=8:letterbox", (8, 8)),
        ("size=30x6:letterbox=centre", (30, 6)),
        ("none", (10, 20)),
    ],
)
def test_sizes(spec: str, shape: tuple[int, int]):
    for channels in (1, 2, 3, 4, 5):
        image = np.repeat(HALVES[..., :1], channels, 2)
        assert parse_preprocess(spec).frame(image).shape == (*shape, channels)


def test_a_letterbox_is_padded_below_or_on_both_sides():
    white = np.full((10, 20, 3), 255, np.uint8)
    below, centred = (parse_preprocess(f"size=9:letterbox{at}:pad=7").frame(white) for at in ("", "=centre"))
    assert below[:, 0, 0].tolist() == [255] * 4 + [7] * 5
    assert centred[:, 0, 0].tolist() == [7] * 2 + [255] * 4 + [7] * 3
    right = parse_preprocess("size=9:letterbox").frame(white.swapaxes(0, 1))
    assert right[0, :, 0].tolist() == [255] * 4 + [114] * 5


def test_a_sliver_keeps_a_pixel():
    assert 255 in parse_preprocess("size=4:letterbox").frame(np.full((1, 400, 3), 255, np.uint8))


def test_channels_do_not_fade_with_the_last_one():
    image = np.full((8, 8, 4), 200, np.uint8)
    image[..., 3] = 0
    framed = parse_preprocess("size=4").frame(image)
    assert (framed[..., :3] == 200).all() and (framed[..., 3] == 0).all()


def test_the_size_of_the_network():
    assert parse_preprocess("letterbox").sized((4, 6)).frame(HALVES).shape == (4, 6, 3)
    assert parse_preprocess("resize:size=8").sized((4, 6)).frame(HALVES).shape == (8, 8, 3)
    assert parse_preprocess("unit").sized((4, 6)) == PRESETS["unit"]
    for word in ("letterbox", "resize"):
        with pytest.raises(UsageError, match=f"{word} needs a size, the network leaves its own open"):
            parse_preprocess(word).sized(None)


def test_crop_larger_than_the_image():
    with pytest.raises(CompressError, match="smaller than crop=9"):
        parse_preprocess("crop=9").frame(np.zeros((8, 8, 3), np.uint8))
