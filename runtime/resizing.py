"""Pictures resized, padded and cropped: uint8 (H, W, C). Resizes are bilinear, and antialiased where they shrink.

h x w becomes, for a wanted H x W:

    cover       the smallest picture of the same ratio that covers H x W     r = max(H / h, W / w)
    letterbox   the largest one that fits into it, the rest padded           r = min(H / h, W / w)
    stretch     H x W, whatever the ratio
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiler.errors import CompressError

MOST_PIXELS = 2**26
WHERE = "--preprocess"
RESIZED = "size= and crop=, or with resize or letterbox"
"""What makes images equal in size."""

Size = tuple[int, int]
"""Height and width in pixels."""


def import_pillow() -> Any:
    """Pillow's Image module; an error that names the install command where it is missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise CompressError("Pillow is not installed", "images need it", "pip install pillow") from error
    return Image


def cover(image: np.ndarray, size: Size) -> np.ndarray:
    """(max(H, h r), max(W, w r), C); `CompressError` where that is huge."""
    height, width = image.shape[:2]
    ratio = max(size[0] / height, size[1] / width)
    target = (max(size[0], round(height * ratio)), max(size[1], round(width * ratio)))
    if target[0] * target[1] > MOST_PIXELS:
        what = f"an image of {height} x {width} would become {target[0]} x {target[1]}"
        raise CompressError(what, WHERE, "remove it, or take a smaller size=")
    return stretch(image, target)


def letterbox(image: np.ndarray, size: Size, pad: int, centred: bool) -> np.ndarray:
    """(H, W, C): the picture at the top left, or in the centre, of a plane of `pad`."""
    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    inner = stretch(image, (max(1, round(height * ratio)), max(1, round(width * ratio))))
    top, left = ((size[0] - inner.shape[0]) // 2, (size[1] - inner.shape[1]) // 2) if centred else (0, 0)
    padded = np.full((*size, image.shape[2]), pad, np.uint8)
    padded[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return padded


def stretch(image: np.ndarray, size: Size) -> np.ndarray:
    """(H, W, C), each channel by itself: Pillow would take a fourth one, or the second of two, for transparency."""
    if image.shape[:2] == size:
        return image
    pillow = import_pillow()
    planes = [image] if image.shape[2] == 3 else np.moveaxis(image, 2, 0)
    turned = (size[1], size[0])
    resized = [np.asarray(pillow.fromarray(each).resize(turned, pillow.Resampling.BILINEAR)) for each in planes]
    return resized[0] if image.shape[2] == 3 else np.stack(resized, axis=2)


def centre(image: np.ndarray, crop: Size) -> np.ndarray:
    """The central (H, W, C); `CompressError` for an image that is smaller."""
    height, width = image.shape[:2]
    if height < crop[0] or width < crop[1]:
        raise CompressError(
            f"an image of {height} x {width} is smaller than crop={size_text(crop)}", WHERE, "add size="
        )
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return image[top : top + crop[0], left : left + crop[1]]


def size_text(size: Size) -> str:
    """`416`, or `320x640`."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
