"""Random flips and shifts of images that are model inputs already, (N, C, H, W).

flip    every other image, left to right
crop    the image, padded by an eighth of its size on every side, and a random window of its size in that; the border
        repeats the edge, as zero need not be black after normalisation
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Augment = Literal["none", "flip", "crop", "flip-crop"]
MARGIN = 8


def augmented(images: np.ndarray, kind: Augment, rng: np.random.Generator) -> np.ndarray:
    """A new array of the same shape and type; what is not (N, C, H, W) stays as it is."""
    if images.ndim != 4 or kind == "none":
        return images
    if "crop" in kind:
        images = _cropped(images, rng)
    return _flipped(images, rng) if "flip" in kind else images


def _flipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.random(len(images)) < 0.5
    return np.where(chosen[:, None, None, None], images[:, :, :, ::-1], images)


def _cropped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count, _, height, width = images.shape
    rows = _window(rng, count, height)
    columns = _window(rng, count, width)
    return images[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].transpose(0, 3, 1, 2)


def _window(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Source positions (N, size) of randomly shifted windows, those outside held at the edge."""
    shift = rng.integers(-(size // MARGIN), size // MARGIN + 1, (count, 1))
    return np.clip(shift + np.arange(size), 0, size - 1)
