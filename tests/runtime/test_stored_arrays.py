from __future__ import annotations

from pathlib import Path

import front
import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime import stored_arrays
from onnx_compress.runtime.data import Input, load_data
from onnx_compress.runtime.preprocess import PRESETS, parse_preprocess
from onnx_compress.runtime.stored_arrays import StoredArray, stored_array

FLOAT = np.dtype(np.float32)
X = Input("x", FLOAT, (None, 3, 8, 8))
VALUES = np.random.default_rng(0).standard_normal((9, 3, 8, 8)).astype(np.float32)


@pytest.fixture(autouse=True)
def every_array_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_arrays, "LARGE", 1)


def stored(folder: Path, suffix: str, values: np.ndarray) -> Path:
    path = folder / f"d.{suffix}"
    np.save(path, values) if suffix == "npy" else np.savez(path, labels=np.arange(len(values)), x=values)
    return path


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("kind", ["<f4", "<f8", ">f4"])
def test_rows_are_those_of_the_array(tmp_path: Path, suffix: str, kind: str):
    data = load_data(stored(tmp_path, suffix, VALUES.astype(np.dtype(kind))), [X], samples=7)
    np.testing.assert_array_equal(np.concatenate([feeds["x"] for feeds in data.batches(3)]), VALUES[:7])
    np.testing.assert_array_equal(data.take(np.array([1, 2, 5]))["x"], VALUES[[1, 2, 5]])
    assert data.labels is None or data.labels.tolist() == list(range(7))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_nothing_is_held_but_what_is_asked_for(tmp_path: Path, suffix: str):
    data = load_data(stored(tmp_path, suffix, VALUES), [X])
    rows = data.rows["x"]
    assert isinstance(rows, StoredArray)
    assert [len(rows), *(len(rows[a:b]) for a, b in ((2, 4), (0, 0), (7, 100)))] == [9, 2, 0, 2]
    assert data.digest == load_data(VALUES, [X]).digest


@pytest.mark.parametrize("spelled", ["cifar10", "size=8:crop=8"])
def test_stored_images_are_preprocessed_as_others_are(tmp_path: Path, spelled: str):
    preprocess = PRESETS.get(spelled) or parse_preprocess(spelled)
    images = front.images(5)
    found, expected = (
        next(iter(load_data(source, [X], preprocess).batches(5)))["x"]
        for source in (stored(tmp_path, "npz", images), images)
    )
    np.testing.assert_array_equal(found, expected)


def test_arrays_that_do_not_lie_row_by_row_are_read_by_numpy(tmp_path: Path):
    np.save(tmp_path / "columns.npy", np.asfortranarray(VALUES))
    np.savez_compressed(tmp_path / "packed.npz", x=VALUES)
    assert stored_array(tmp_path / "columns.npy") is None
    for name in ("columns.npy", "packed.npz"):
        np.testing.assert_array_equal(next(iter(load_data(tmp_path / name, [X]).batches(9)))["x"], VALUES)


def test_a_damaged_archive_is_refused(tmp_path: Path):
    path = stored(tmp_path, "npz", VALUES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CompressError, match="cannot be read: Bad CRC-32"):
        load_data(path, [X])


@pytest.mark.parametrize(("change", "words"), [("gone", "cannot be read"), ("short", "has become shorter")])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str, words: str):
    path = stored(tmp_path, "npy", VALUES)
    data = load_data(path, [X])
    path.unlink() if change == "gone" else path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CompressError, match=words):
        list(data.batches(9))
