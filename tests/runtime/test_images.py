"""Folders of images: which files count, their classes, and their pixels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.data import Input, Samples, load_data
from onnx_compress.runtime.preprocess import parse_preprocess
from PIL import Image

FLOAT = np.dtype(np.float32)
RGB, GREY, RGBA = (Input("x", FLOAT, (None, channels, 8, 8)) for channels in (3, 1, 4))
FLAT = np.full((8, 8, 3), 200, np.uint8)


def save(path: Path, value: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images in each of three classes."""
    for index, name in enumerate(("ant", "bee", "cat")):
        save(tmp_path / "data" / name / "1.png", 10 * index)
        save(tmp_path / "data" / name / "2.png", 10 * index + 1)
    return tmp_path / "data"


def labelled(folder: Path, classes: int | None = 3) -> Samples:
    return load_data(folder, [RGB], labels="folders", classes=classes)


def classes_of(data: Samples) -> list[int]:
    assert data.labels is not None
    return data.labels.tolist()


@pytest.mark.parametrize(
    "name",
    [
        *(".git/a.png", ".a.png", ".ipynb_checkpoints/a-checkpoint.png", "ant/.ipynb_checkpoints/1.png"),
        *("__MACOSX/ant/1.png", "__MACOSX/._1.png", "@eaDir/1.png", "System Volume Information/a.png"),
        *("Thumbs.db", "ant/Thumbs.db", "desktop.ini"),
    ],
)
def test_hidden_files_are_neither_samples_nor_classes(folder: Path, name: str):
    save(folder / name) if name.endswith("png") else (folder / name).write_bytes(b"x")
    data = labelled(folder)
    assert classes_of(data) == [0, 0, 1, 1, 2, 2]
    assert all("left out" not in note for note in data.notes)


def test_a_folder_may_be_hidden_itself(tmp_path: Path):
    save(tmp_path / ".cache" / "a.png")
    assert load_data(tmp_path / ".cache", [RGB]).samples == 1


def test_a_loose_image_has_no_class(folder: Path):
    save(folder / "aa.png")
    with pytest.raises(CompressError, match=r"1 image is in no sub-folder, so in no class: .*aa\.png"):
        labelled(folder)
    assert load_data(folder, [RGB]).samples == 7


def test_a_flat_folder_has_no_classes(tmp_path: Path):
    save(tmp_path / "a.png")
    with pytest.raises(CompressError, match="has no sub-folders, so no classes"):
        labelled(tmp_path, None)


@pytest.mark.parametrize("classes", [2, 4, 1000])
def test_as_many_sub_folders_as_classes(folder: Path, classes: int):
    with pytest.raises(CompressError, match=f"has 3 sub-folders, the network has {classes} classes"):
        labelled(folder, classes)


def test_an_empty_sub_folder_is_a_class_where_the_number_fits(folder: Path):
    (folder / "aphid").mkdir()
    with pytest.raises(CompressError, match=r"has 4 sub-folders \(aphid without images\), the network has 3"):
        labelled(folder, 3)
    assert classes_of(labelled(folder, 4)) == [0, 0, 2, 2, 3, 3]


def test_sub_folders_that_are_links_are_followed_but_not_back_up(folder: Path, tmp_path: Path):
    save(tmp_path / "elsewhere" / "1.png")
    os.symlink(tmp_path / "elsewhere", folder / "bat")
    os.symlink(folder, folder / "ant" / "up")
    assert classes_of(labelled(folder, 4)) == [0, 0, 1, 2, 2, 3, 3]


def test_what_the_order_of_the_folders_means_is_said(tmp_path: Path):
    for name in ("0", "10", "2"):
        save(tmp_path / "a" / name / "1.png")
        save(tmp_path / "b" / str(int(name) // 2 + 1) / "1.png")
    assert any("sorted as text: 0, 10, 2" in note for note in labelled(tmp_path / "a").notes)
    assert any("the sub-folder 1 is class 0" in note for note in labelled(tmp_path / "b").notes)


def test_files_of_other_kinds_are_counted(folder: Path):
    (folder / "ant" / "3.heic").write_bytes(b"x")
    words = "1 file is left out, of a kind that is not read: "
    assert any(words in note and "3.heic" in note for note in labelled(folder).notes)


def test_samples_that_leave_classes_out_are_noted(folder: Path):
    data = load_data(folder, [RGB], samples=3)
    assert any("the first 3 images are from 2 of 3 sub-folders" in note for note in data.notes)


def test_a_folder_that_cannot_be_read_is_not_empty(folder: Path, monkeypatch: pytest.MonkeyPatch):
    scandir = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("bee"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(CompressError, match="bee: cannot be read: Permission denied"):
        load_data(folder, [RGB])


def pixels(path: Path, model: Input = RGB) -> list[float]:
    """The values of the only image in the folder, 0 to 255, each once."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = next(iter(load_data(path, [model]).batches(1)))["x"]
    return sorted(set((batch * 255).round().ravel().tolist()))


GREY_16 = np.full((8, 8), 65535, np.uint16)
TRANSLUCENT = np.full((8, 8, 4), 99, np.uint8)


def _pgm(most: int, value: int) -> bytes:
    return f"P5 8 8 {most}\n".encode() + np.full(64, value, ">u2").tobytes()


@pytest.mark.parametrize(
    ("name", "image", "model", "expected"),
    [
        ("white.png", Image.fromarray(GREY_16), RGB, [255]),
        ("half.png", Image.fromarray(GREY_16 // 2), GREY, [127]),
        ("half.tif", Image.fromarray(GREY_16 // 2), RGB, [127]),
        ("big-endian.tif", Image.fromarray((GREY_16 // 2).astype(">u2")), RGB, [127]),
        ("half.pgm", _pgm(65535, 32768), RGB, [128]),
        ("ten-bit.pgm", _pgm(1023, 1023), GREY, [255]),
        ("palette.png", Image.fromarray(FLAT * 0 + 102).convert("P"), RGB, [102]),
        ("palette.gif", Image.fromarray(FLAT * 0 + 102).convert("P"), GREY, [102]),
        ("one-bit.png", Image.fromarray(np.ones((8, 8), bool)), RGB, [255]),
        ("cmyk.jpg", Image.fromarray(np.zeros((8, 8, 4), np.uint8), "CMYK"), RGB, [255]),
        ("grey-alpha.png", Image.fromarray(TRANSLUCENT[..., :2].copy(), "LA"), RGB, [99]),
        ("colour-alpha.png", Image.fromarray(TRANSLUCENT), RGB, [99]),
        ("colour-alpha.png", Image.fromarray(TRANSLUCENT), RGBA, [99]),
    ],
)
def test_pixels_by_kind(tmp_path: Path, name: str, image: Image.Image | bytes, model: Input, expected: list[int]):
    if isinstance(image, bytes):
        (tmp_path / name).write_bytes(image)
    else:
        image.save(tmp_path / name)
    assert pixels(tmp_path, model) == expected


@pytest.mark.parametrize(("value", "words"), [(np.int32(70000), "32-bit integers"), (np.float32(0.5), "floats")])
def test_pixels_without_a_known_range_are_refused(tmp_path: Path, value: np.generic, words: str):
    Image.fromarray(np.full((8, 8), value)).save(tmp_path / "a.tif")
    with pytest.raises(CompressError, match=rf"a\.tif: its pixels are {words}"):
        load_data(tmp_path, [RGB])


def test_the_orientation_is_applied(tmp_path: Path):
    image = Image.fromarray(np.repeat([[[255]], [[0]]], 8, 1).repeat(4, 0).repeat(3, 2).astype(np.uint8))
    exif = image.getexif()
    exif[274] = 6  # stored turned to the left
    image.save(tmp_path / "a.png", exif=exif)
    shown = next(iter(load_data(tmp_path, [RGB]).batches(1)))["x"][0, 0]
    np.testing.assert_array_equal(shown, np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 8, 0))


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.png", "a.webp"])
def test_of_several_frames_the_first_is_read_with_a_note(tmp_path: Path, name: str):
    more = [Image.fromarray(FLAT // 2)]
    Image.fromarray(FLAT).save(tmp_path / name, save_all=True, append_images=more)
    data = load_data(tmp_path, [RGB])
    assert any("several frames" in note and name in note for note in data.notes)
    assert next(iter(data.batches(1)))["x"].max() > 0.7


def test_a_photo_with_a_preview_is_one_image(tmp_path: Path):
    more = [Image.fromarray(FLAT // 2)]
    Image.fromarray(FLAT).save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=more)
    assert len(load_data(tmp_path, [RGB]).notes) == 1


def test_a_dropped_alpha_channel_is_noted(tmp_path: Path):
    Image.fromarray(TRANSLUCENT).save(tmp_path / "a.png")
    assert any("alpha" in note and "a.png" in note for note in load_data(tmp_path, [RGB]).notes)
    assert not any("alpha" in note for note in load_data(tmp_path, [RGBA]).notes)


def test_an_image_that_would_become_huge_is_named(tmp_path: Path):
    Image.new("L", (20_000, 1)).save(tmp_path / "a.png")
    with pytest.raises(CompressError, match=r"a\.png: an image of 1 x 20000 would become 8000 x 160000000"):
        load_data(tmp_path, [RGB], parse_preprocess("size=8000"))


def test_an_image_that_is_too_small_is_named(tmp_path: Path):
    save(tmp_path / "a.png")
    with pytest.raises(CompressError, match=r"a\.png: an image of 8 x 8 is smaller than crop=9 .--preprocess"):
        load_data(tmp_path, [RGB], parse_preprocess("crop=9"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tif", "webp", "ppm"])
def test_an_image_that_ends_early_is_named(tmp_path: Path, suffix: str):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: 2 * path.stat().st_size // 3])
    with pytest.raises(CompressError, match=rf"a\.{suffix}: not a readable image"):
        load_data(tmp_path, [RGB])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "jpeg"])
def test_damage_that_libtiff_finds_is_not_printed(tmp_path: Path, compression: str, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, compression=compression)
    content = bytearray(path.read_bytes())
    for index in range(300, min(len(content) - 300, 3000), 7):
        content[index] ^= 0x5A
    path.write_bytes(content)
    with pytest.raises(CompressError, match=r"a\.tif: not a readable image"):
        load_data(tmp_path, [RGB], parse_preprocess("size=8:crop=8"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b"", "an empty file"),
        (b"\0" * 600, "a file of zeros"),
    ],
)
def test_what_is_no_image_is_recognised(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(CompressError, match=rf"a\.jpg: not an image, but {words}"):
        load_data(tmp_path, [RGB])


def test_a_decoder_that_raises_anything_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> Callable[..., object]:
        raise IndexError("bytearray index out of range")

    save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "convert", fails)
    with pytest.raises(CompressError, match=r"a\.png: not a readable image: bytearray index"):
        load_data(tmp_path, [RGB])
