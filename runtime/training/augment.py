"""Random flips, shifts and mixtures of images that are model inputs already, (N, C, H, W).

flip    every other image, left to right
crop    the image, padded by an eighth of its size on every side, and a random window of its size in that; the border
        repeats the edge, as zero need not be black after normalisation
mix     every other image, with up to as much of another one of the batch

A mixture has no label, but the original network has an answer to it. Source of `mix`: Zhang et al., "mixup: beyond
empirical risk minimization", ICLR 2018; for distillation Beyer et al., "Knowledge distillation: a good teacher is
patient and consistent", CVPR 2022.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Augment = Literal["none", "flip", "crop", "flip-crop", "flip-crop-mix"]
MARGIN = 8


def augmented(images: np.ndarray, kind: Augment, rng: np.random.Generator) -> np.ndarray:
    """A new array of the same shape and type; what is not (N, C, H, W) stays as it is."""
    if images.ndim != 4 or kind == "none":
        return images
    if "crop" in kind:
        images = _cropped(images, rng)
    if "flip" in kind:
        images = _flipped(images, rng)
    return _mixed(images, rng) if "mix" in kind else images


def _flipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.random(len(images)) < 0.5
    return np.where(chosen[:, None, None, None], images[:, :, :, ::-1], images)


def _mixed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count = len(images)
    chosen, most = rng.random(count) < 0.5, rng.random(count) / 2
    share = np.where(chosen, most, 0).astype(np.float32)[:, None, None, None]
    mixed = (1 - share) * images + share * images[rng.permutation(count)]
    return (np.rint(mixed) if images.dtype.kind in "iu" else mixed).astype(images.dtype)


def _cropped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count, _, height, width = images.shape
    rows = _window(rng, count, height)
    columns = _window(rng, count, width)
    return images[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].transpose(0, 3, 1, 2)


def _window(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Source positions (N, size) of randomly shifted windows, those outside held at the edge."""
    shift = rng.integers(-(size // MARGIN), size // MARGIN + 1, (count, 1))
    return np.clip(shift + np.arange(size), 0, size - 1)
