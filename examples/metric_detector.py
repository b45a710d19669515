"""mAP50 of a detector as the metric of a run: YOLOX and FastestDet, whose outputs are boxes yet to be decoded.

PICTURES=coco/images LABELS=coco/labels onnx-compress yolox_nano.onnx --data calibration.npz \
    --metric examples/metric_detector.py:yolox -p basis:metric-drop=1.0,quantize

PICTURES is a folder of pictures. LABELS is a folder with a file NAME.txt for each of them, a line per box (class,
centre x and y, width, height; shares of the picture), or a JSON file as COCO has it. For another network write a
`Detector`: how a picture becomes its input, and how its output becomes boxes.

The mean over classes of the average precision at an intersection over union of 0.5: precision, made to fall with
recall, at 101 recalls (Lin et al., Microsoft COCO, 2014). The best box first, each takes the free labelled box that it
meets best.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

Array = np.ndarray
Predict = Callable[[Mapping[str, Array]], Mapping[str, Array]]
IOU, RECALLS = 0.5, np.linspace(0, 1, 101)
FAINTEST, CANDIDATES, MOST = 0.01, 1000, 100
"""Boxes of a lower score do not count; so many are compared with each other, and so many are kept of a picture."""


@dataclass(frozen=True)
class Boxes:
    """Of one picture: corners x1, y1, x2, y2 in pixels (N, 4), classes (N,), scores (N,)."""

    corners: Array
    classes: Array
    scores: Array

    def take(self, chosen: Array) -> Boxes:
        return Boxes(self.corners[chosen], self.classes[chosen], self.scores[chosen])


@dataclass(frozen=True)
class Detector:
    """A network.

    Attributes:
        side: height and width of its input.
        prepare: a picture as that input (1, 3, side, side).
        decode: its first output and the picture's width and height, as boxes.
        overlap: of two boxes of one class that overlap more the better one stays.
    """

    side: int
    prepare: Callable[[Image.Image, int], Array]
    decode: Callable[[Array, int, tuple[int, int]], Boxes]
    overlap: float


def yolox(predict: Predict) -> float:
    return map50(predict, Detector(416, letterboxed, decode_yolox, 0.65), "images")


def fastestdet(predict: Predict) -> float:
    return map50(predict, Detector(352, stretched, decode_fastestdet, 0.45), "input.1")


def map50(predict: Predict, detector: Detector, name: str) -> float:
    """In points; `name` is that of the network's input."""
    found: list[Boxes] = []
    for picture in pictures():
        output = next(iter(predict({name: detector.prepare(picture, detector.side)}).values()))
        found.append(suppressed(detector.decode(output[0], detector.side, picture.size), detector.overlap))
    return mean_average_precision(found, labelled())


def letterboxed(picture: Image.Image, side: int) -> Array:
    """Fitted into the upper left corner, the rest grey; blue first, 0 to 255."""
    ratio = min(side / edge for edge in picture.size)
    width, height = (round(edge * ratio) for edge in picture.size)
    canvas = np.full((side, side, 3), 114, np.float32)
    canvas[:height, :width] = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None])


def stretched(picture: Image.Image, side: int) -> Array:
    """Blue first, 0 to 1."""
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR), np.float32) / 255
    return np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)[None])


def decode_yolox(output: Array, side: int, size: tuple[int, int]) -> Boxes:
    """Rows (dx, dy, log w, log h, objectness, classes ...), one per cell of the grids of stride 8, 16 and 32."""
    grids = [np.indices((side // stride, side // stride)).reshape(2, -1).T[:, ::-1] for stride in (8, 16, 32)]
    cells = np.concatenate(grids)
    strides = np.repeat((8, 16, 32), [len(grid) for grid in grids])[:, None]
    scores = output[:, 4:5] * output[:, 5:]
    scale = max(size) / side
    return chosen((output[:, :2] + cells) * strides * scale, np.exp(output[:, 2:4]) * strides * scale, scores)


def decode_fastestdet(output: Array, side: int, size: tuple[int, int]) -> Boxes:
    """Planes (objectness, dx, dy, w, h, classes ...) over one grid; all in shares of the picture."""
    planes = output.reshape(len(output), -1).T
    rows, columns = np.indices(output.shape[1:]).reshape(2, -1)
    centres = (np.tanh(planes[:, 1:3]) + np.stack([columns, rows], 1)) / (output.shape[2], output.shape[1])
    sizes = 1 / (1 + np.exp(-planes[:, 3:5]))
    return chosen(centres * size, sizes * size, planes[:, :1] ** 0.6 * planes[:, 5:] ** 0.4)


def chosen(centres: Array, sizes: Array, scores: Array) -> Boxes:
    """A box for each class whose score (cells, classes) counts."""
    cell, classes = np.nonzero(scores > FAINTEST)
    corners = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1)
    return Boxes(corners[cell], classes, scores[cell, classes])


def suppressed(boxes: Boxes, overlap: float) -> Boxes:
    """The best boxes, without those that overlap a better one of their class."""
    boxes = boxes.take(np.argsort(-boxes.scores)[:CANDIDATES])
    kept, rest = [], np.arange(len(boxes.scores))
    while len(rest) and len(kept) < MOST:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        meets = intersection_over_union(boxes.corners[best][None], boxes.corners[rest])[0] > overlap
        rest = rest[~meets | (boxes.classes[rest] != boxes.classes[best])]
    return boxes.take(np.array(kept, int))


def intersection_over_union(one: Array, other: Array) -> Array:
    """(N, 4) and (M, 4) -> (N, M)."""
    upper = np.maximum(one[:, None, :2], other[None, :, :2])
    lower = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(lower - upper, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one, other)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def mean_average_precision(found: list[Boxes], truth: list[Boxes]) -> float:
    """Of boxes by picture, over the classes that are labelled; in points."""
    classes = np.unique(np.concatenate([boxes.classes for boxes in truth]))
    return 100 * float(np.mean([average_precision(found, truth, each) for each in classes]))


def average_precision(found: list[Boxes], truth: list[Boxes], kind: int) -> float:
    scores, hits, total = [np.zeros(0)], [np.zeros(0, bool)], 0
    for boxes, labels in zip(found, truth, strict=True):
        boxes, labels = boxes.take(boxes.classes == kind), labels.take(labels.classes == kind)
        total += len(labels.scores)
        scores.append(boxes.scores)
        hits.append(matched(boxes, labels))
    right = np.concatenate(hits)[np.argsort(-np.concatenate(scores), kind="stable")].cumsum()
    precision = right / np.arange(1, len(right) + 1)
    falling = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(falling[np.searchsorted(right / total, RECALLS)].mean())


def matched(boxes: Boxes, labels: Boxes) -> Array:
    """Which boxes of a class take a labelled one, the best boxes first."""
    hits, free = np.zeros(len(boxes.scores), bool), np.ones(len(labels.scores), bool)
    overlaps = intersection_over_union(boxes.corners, labels.corners)
    for index in np.argsort(-boxes.scores, kind="stable"):
        meets = np.where(free, overlaps[index], 0.0)
        if meets.size and meets.max() >= IOU:
            hits[index], free[meets.argmax()] = True, False
    return hits


def files() -> list[Path]:
    folder = Path(os.environ.get("PICTURES", "pictures"))
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def pictures() -> Iterator[Image.Image]:
    for path in files():
        with Image.open(path) as picture:
            yield picture.convert("RGB")


@cache
def labelled() -> list[Boxes]:
    """Of each picture."""
    place = Path(os.environ.get("LABELS", "labels"))
    return from_coco(json.loads(place.read_text())) if place.is_file() else [from_text(file, place) for file in files()]


def from_text(file: Path, folder: Path) -> Boxes:
    with Image.open(file) as picture:
        size = np.tile(picture.size, 2)
    text = folder / f"{file.stem}.txt"
    rows = np.loadtxt(text, ndmin=2).reshape(-1, 5) if text.is_file() and text.stat().st_size else np.zeros((0, 5))
    centres, sizes = rows[:, 1:3], rows[:, 3:5]
    corners = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1) * size
    return Boxes(corners, rows[:, 0].astype(int), np.ones(len(rows)))


def from_coco(content: Mapping[str, list[dict]]) -> list[Boxes]:
    """Classes are numbered as the categories are listed by their ids; crowds are left out."""
    numbers = {entry: number for number, entry in enumerate(sorted(each["id"] for each in content["categories"]))}
    names = {entry["id"]: entry["file_name"] for entry in content["images"]}
    found: dict[str, list[list[float]]] = {Path(name).name: [] for name in names.values()}
    for entry in content["annotations"]:
        if not entry.get("iscrowd"):
            x, y, width, height = entry["bbox"]
            box = [x, y, x + width, y + height, numbers[entry["category_id"]]]
            found[Path(names[entry["image_id"]]).name].append(box)
    rows = [np.array(found[file.name], float).reshape(-1, 5) for file in files()]
    return [Boxes(each[:, :4], each[:, 4].astype(int), np.ones(len(each))) for each in rows]
