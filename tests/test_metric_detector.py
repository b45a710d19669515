"""The metric of examples/metric_detector.py: what is decoded, which boxes match, and what that is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import front
import numpy as np
import pytest
from onnx_compress.compiler.pipeline.registry import load_file
from PIL import Image

DETECTOR = load_file(Path(front.EXAMPLES) / "metric_detector.py")
SIZES = {"a.png": (80, 40), "b.png": (40, 80)}
LABELS = {"a.png": [(0, 10, 10, 30, 30), (1, 50, 10, 70, 30)], "b.png": [(0, 4, 40, 36, 72)]}
"""Class and corners by picture."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PICTURES", str(tmp_path))
    monkeypatch.setenv("LABELS", str(tmp_path))
    DETECTOR.labelled.cache_clear()
    for name, size in SIZES.items():
        Image.new("RGB", size, (255, 0, 0)).save(tmp_path / name)
        rows = [
            (kind, (x + right) / 2 / size[0], (y + low) / 2 / size[1], (right - x) / size[0], (low - y) / size[1])
            for kind, x, y, right, low in LABELS[name]
        ]
        (tmp_path / f"{Path(name).stem}.txt").write_text("\n".join(" ".join(map(str, row)) for row in rows))
    return tmp_path


def boxes(*rows: tuple[float, ...]) -> Any:
    """(class, x1, y1, x2, y2, score) each."""
    table = np.array(rows, float).reshape(-1, 6)
    return DETECTOR.Boxes(table[:, 1:5], table[:, 0].astype(int), table[:, 5])


def test_labels_are_read_from_text_and_from_coco(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_text = DETECTOR.labelled()
    content = {
        "categories": [{"id": 7}, {"id": 3}],
        "images": [{"id": number, "file_name": f"train/{name}"} for number, name in enumerate(SIZES)],
        "annotations": [
            {"image_id": number, "category_id": (3, 7)[kind], "bbox": [x, y, right - x, low - y], "iscrowd": 0}
            for number, name in enumerate(SIZES)
            for kind, x, y, right, low in LABELS[name]
        ],
    }
    content["annotations"].append({"image_id": 0, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    (folder / "coco.json").write_text(json.dumps(content))
    monkeypatch.setenv("LABELS", str(folder / "coco.json"))
    DETECTOR.labelled.cache_clear()
    for one, other, name in zip(from_text, DETECTOR.labelled(), SIZES, strict=True):
        expected = np.array(LABELS[name])
        np.testing.assert_allclose(one.corners, expected[:, 1:])
        np.testing.assert_allclose(other.corners, expected[:, 1:])
        assert one.classes.tolist() == other.classes.tolist() == expected[:, 0].tolist()


def test_a_picture_without_labels_has_none(folder: Path) -> None:
    (folder / "a.txt").unlink()
    (folder / "b.txt").write_text("")
    assert [len(each.scores) for each in DETECTOR.labelled()] == [0, 0]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, 0, 0, 10, 10, 0.9)], 100.0),
        ([(0, 0, 0, 10, 10, 0.9), (0, 0, 0, 10, 10, 0.8)], 100.0),
        ([(0, 0, 0, 10, 10, 0.8), (0, 50, 50, 60, 60, 0.9)], 50.0),
        ([(0, 5, 0, 15, 10, 0.9)], 0.0),
        ([(1, 0, 0, 10, 10, 0.9)], 0.0),
        ([], 0.0),
    ],
    ids=["found", "twice", "behind a wrong one", "too far off", "of another class", "nothing"],
)
def test_the_average_precision_of_one_box(found: list[tuple[float, ...]], expected: float) -> None:
    truth = boxes((0, 0, 0, 10, 10, 1))
    assert DETECTOR.mean_average_precision([boxes(*found)], [truth]) == pytest.approx(expected)


def test_half_of_the_boxes_are_worth_51_of_101_recalls() -> None:
    truth = [boxes((0, 0, 0, 10, 10, 1)), boxes((0, 0, 0, 10, 10, 1))]
    found = [boxes((0, 0, 0, 10, 10, 0.9)), boxes()]
    assert DETECTOR.mean_average_precision(found, truth) == pytest.approx(100 * 51 / 101)


def test_a_labelled_box_goes_to_the_best_score_and_a_box_to_what_it_meets_best() -> None:
    truth = boxes((0, 0, 0, 10, 10, 1), (0, 3, 0, 13, 10, 1))
    found = boxes((0, 1, 0, 11, 10, 0.5), (0, 0, 0, 10, 10, 0.9))
    assert DETECTOR.matched(found, truth).tolist() == [True, True]
    assert DETECTOR.matched(boxes((0, 0, 0, 10, 10, 0.9), (0, 0, 0, 10, 10, 0.5)), truth).tolist() == [True, True]
    assert DETECTOR.matched(boxes((0, 0, 0, 4, 10, 0.9)), truth).tolist() == [False]


def test_overlapping_boxes_of_one_class_are_suppressed() -> None:
    found = boxes((0, 1, 0, 11, 10, 0.5), (0, 0, 0, 10, 10, 0.9), (1, 0, 0, 10, 10, 0.3), (0, 90, 0, 99, 9, 0.1))
    assert DETECTOR.suppressed(found, 0.5).scores.tolist() == [0.9, 0.3, 0.1]


def encoded_yolox(name: str) -> np.ndarray:
    """An output that says exactly what is labelled, in the cells of stride 8."""
    scale = max(SIZES[name]) / 416
    output = np.zeros((1, 3549, 7), np.float32)
    for kind, *corners in LABELS[name]:
        x, y, right, low = np.array(corners) / scale / 8
        column, row = int((x + right) / 2), int((y + low) / 2)
        cell = row * 52 + column
        output[0, cell, :4] = (x + right) / 2 - column, (y + low) / 2 - row, np.log(right - x), np.log(low - y)
        output[0, cell, [4, 5 + kind]] = 1
    return output


def encoded_fastestdet(name: str) -> np.ndarray:
    width, height = SIZES[name]
    output = np.zeros((1, 7, 22, 22), np.float32)
    for kind, *corners in LABELS[name]:
        x, y, right, low = np.array(corners) / (width, height, width, height)
        column, row = int((x + right) / 2 * 22), int((y + low) / 2 * 22)
        offsets = np.arctanh(((x + right) / 2 * 22 - column, (y + low) / 2 * 22 - row))
        shares = np.array((right - x, low - y))
        output[0, :5, row, column] = 1, *offsets, *np.log(shares / (1 - shares))
        output[0, 5 + kind, row, column] = 1
    return output


@pytest.mark.parametrize(
    ("metric", "encoded", "shape", "grey"),
    [
        ("yolox", encoded_yolox, (1, 3, 416, 416), 114.0),
        ("fastestdet", encoded_fastestdet, (1, 3, 352, 352), 0.0),
    ],
)
def test_a_network_that_says_what_is_labelled_is_best(metric: str, encoded: Any, shape: Any, grey: float) -> None:
    names = iter(SIZES)

    def predict(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        (pixels,) = feeds.values()
        assert pixels.shape == shape and pixels.dtype == np.float32
        assert pixels[0, :, 0, 0].tolist() == [0, 0, 255 if metric == "yolox" else 1], "blue first"
        assert pixels[0, 0, -1, -1] == grey
        return {"y": encoded(next(names))}

    assert getattr(DETECTOR, metric)(predict) == pytest.approx(100)
