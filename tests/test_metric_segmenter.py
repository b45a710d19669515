"""The metric of examples/metric_segmenter.py: what is fed, and what maps that are right, wrong or unknown are worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import front
import numpy as np
import pytest
from onnx_compress.compiler.pipeline.registry import load_file
from PIL import Image

SEGMENTER = load_file(Path(front.EXAMPLES) / "metric_segmenter.py")
MASK = np.array([[0, 0, 5, 5], [0, 0, 255, 255]], np.uint8).repeat(2, 0).repeat(2, 1)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, picture in (("PICTURES", Image.new("RGB", (8, 4), (255, 0, 0))), ("MASKS", Image.fromarray(MASK))):
        (tmp_path / variable).mkdir()
        picture.save(tmp_path / variable / "a.png")
        monkeypatch.setenv(variable, str(tmp_path / variable))


def worth(found: np.ndarray) -> float:
    def predict(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        pixels = feeds["input"]
        assert pixels.shape == (1, 3, 257, 257) and pixels[0, :, 0, 0].tolist() == [1, -1, -1]
        return {"output": (np.arange(21)[:, None, None] == found).astype(np.float32)[None]}

    return SEGMENTER.mean_iou(predict)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (np.where(MASK == 255, 9, MASK), 100.0),
        (MASK[::2, ::2], 100.0),
        (np.zeros_like(MASK), 100 * (8 / 12 + 0) / 2),
        (np.full_like(MASK, 7), 0.0),
    ],
    ids=["right where it is known", "of half the size", "one class for all", "wrong"],
)
def test_maps_are_worth(found: np.ndarray, expected: float) -> None:
    assert worth(found) == pytest.approx(expected)
