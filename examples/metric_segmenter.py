"""Mean intersection over union of a segmenter as the metric of a run, from pictures and masks.

PICTURES=val/pictures MASKS=val/masks onnx-compress deeplab.onnx --data calibration/ --preprocess tf:resize \
    --metric examples/metric_segmenter.py:mean_iou -p quantize

PICTURES is a folder of pictures; MASKS has a PNG of the same name for each, whose values are classes, 255 where nothing
is known. For another network change what stands in capitals below, and `prepared`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

Array = np.ndarray
Predict = Callable[[Mapping[str, Array]], Mapping[str, Array]]
INPUT, SIDE, CLASSES, UNKNOWN = "input", 257, 21, 255


def mean_iou(predict: Predict) -> float:
    """In points; over the classes that a mask has. The output is (1, classes, height, width)."""
    counts = np.zeros((CLASSES, CLASSES))
    for picture, mask in zip(files("PICTURES"), files("MASKS"), strict=True):
        scores = next(iter(predict({INPUT: prepared(picture)}).values()))[0]
        counts += confusion(scores.argmax(0), labelled(mask, scores.shape[1:]))
    right, known = np.diag(counts), counts.sum(1)
    union = known + counts.sum(0) - right
    return 100 * float((right / np.maximum(union, 1))[known > 0].mean())


def prepared(file: Path) -> Array:
    """-1 to 1, resized whatever the ratio, channels first."""
    with Image.open(file) as picture:
        pixels = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(((np.asarray(pixels, np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None])


def labelled(file: Path, shape: tuple[int, ...]) -> Array:
    with Image.open(file) as mask:
        return np.asarray(mask.resize(shape[::-1], Image.Resampling.NEAREST), int)


def confusion(found: Array, truth: Array) -> Array:
    """Rows: the class of a pixel; columns: the class that was found."""
    known = truth != UNKNOWN
    pairs = truth[known] * CLASSES + found[known]
    return np.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def files(variable: str) -> list[Path]:
    folder = Path(os.environ.get(variable, variable.lower()))
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
