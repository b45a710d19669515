"""From uint8 images to model input: a preset, or a spec written like the options of a pass.

    y[c] = (x[c] / 255 - mean[c]) / std[c]        after an optional resize and centre crop

A spec is `key=value` joined by `:`; a list is joined by `,` or `/`:

    mean=0.485,0.456,0.406:std=0.229,0.224,0.225:size=256:crop=224

`mean` and `std` hold one value per channel, or one for all; they refer to pixels in [0, 1] and default to 0 and 1.
`size` is the shorter side after a bilinear resize, `crop` the side of the centre crop; without them images keep their
size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler.errors import CompressError, UsageError, nearest

WHERE = "--preprocess"
MOST_SIDE, MOST_PIXELS = 8192, 2**26


@dataclass(frozen=True)
class Preprocess:
    """What happens to an image.

    Attributes:
        mean, std: per channel (or one for all), of pixels in [0, 1].
        size: shorter side after the resize, in pixels; None keeps the size.
        crop: side of the centre crop, in pixels; None keeps all.
        scaled: False passes the pixels 0..255 on as they are (the preset `none`).
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: int | None = None
    crop: int | None = None
    scaled: bool = True

    def __str__(self) -> str:
        if not self.scaled:
            return "none"
        parts = [f"{key}={','.join(map(str, getattr(self, key)))}" for key in ("mean", "std")]
        parts += [f"{key}={value}" for key in ("size", "crop") if (value := getattr(self, key)) is not None]
        return ":".join(parts)

    def frame(self, image: np.ndarray) -> np.ndarray:
        """One uint8 image (H, W, C), resized and cropped to uint8 (H', W', C)."""
        if self.size is not None and min(image.shape[:2]) != self.size:
            image = _resize(image, self.size)
        return image if self.crop is None else _centre(image, self.crop)

    def values(self, images: np.ndarray) -> np.ndarray:
        """uint8 (..., C) -> float32 (..., C)."""
        x = images.astype(np.float32)
        if not self.scaled:
            return x
        return (x / np.float32(255) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)


PRESETS = {
    "imagenet": Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), size=256, crop=224),
    "cifar10": Preprocess((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "unit": Preprocess(),
    "none": Preprocess(scaled=False),
}


def parse_preprocess(text: str) -> Preprocess:
    """The preset called `text`, or the spec that it spells; `UsageError` on anything else."""
    if text in PRESETS:
        return PRESETS[text]
    if ".py" in text or ":" in text.partition("=")[0]:
        what = f"'{text}' looks like a function; it takes a preset or a spec"
        raise UsageError(what, WHERE, "--data file.py:function yields arrays as they go in")
    if "=" not in text:
        fix = f"{nearest(text, PRESETS)}; or mean=..:std=..:size=..:crop=.."
        raise UsageError(f"unknown preset '{text}'", WHERE, fix)
    options: dict[str, Any] = {}
    for part in text.split(":"):
        key, _, value = part.partition("=")
        if key not in _READERS:
            raise UsageError(f"unknown key '{key}'", WHERE, nearest(key, _READERS))
        options[key] = _READERS[key](key, value)
    return _checked(Preprocess(**options))


def _floats(key: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.replace("/", ",").split(","))
    except ValueError as error:
        raise UsageError(f"{key} cannot be '{text}'", WHERE, "numbers joined by commas") from error


def _side(key: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SIDE:
        raise UsageError(f"{key} cannot be '{text}'", WHERE, f"a whole number of pixels, 1 to {MOST_SIDE}")
    return int(text)


_READERS: dict[str, Callable[[str, str], Any]] = {"mean": _floats, "std": _floats, "size": _side, "crop": _side}


def _checked(preprocess: Preprocess) -> Preprocess:
    if len({len(preprocess.mean), len(preprocess.std)} - {1}) > 1:
        raise UsageError("mean and std differ in length", WHERE, "one value per channel each, or one for all")
    with np.errstate(all="ignore"):
        darkest, brightest = (preprocess.values(np.full(1, value, np.uint8)) for value in (0, 255))
    if not all(value > 0 for value in preprocess.std) or not np.isfinite(brightest - darkest).all():
        raise UsageError("mean must be finite and std positive", WHERE, "in units of pixels divided by 255")
    if np.any(darkest == brightest):
        raise UsageError("mean or std is so large that all pixels are alike", WHERE, "in units of pixels / 255")
    if preprocess.size and preprocess.crop and preprocess.crop > preprocess.size:
        raise UsageError(f"crop {preprocess.crop} exceeds size {preprocess.size}", WHERE, "crop no more than size")
    return preprocess


def import_pillow() -> Any:
    """Pillow's Image module; an error that names the install command where it is missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise CompressError("Pillow is not installed", "images need it", "pip install pillow") from error
    return Image


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    pillow = import_pillow()
    height, width = image.shape[:2]
    scale = size / min(height, width)
    target = (max(size, round(width * scale)), max(size, round(height * scale)))
    if target[0] * target[1] > MOST_PIXELS:
        what = f"an image of {height} x {width} would become {target[1]} x {target[0]}"
        raise CompressError(what, WHERE, "remove it, or take a smaller size=")
    planes = image[..., 0] if image.shape[2] == 1 else image
    resized = np.asarray(pillow.fromarray(planes).resize(target, pillow.Resampling.BILINEAR))
    return resized.reshape(target[1], target[0], image.shape[2])


def _centre(image: np.ndarray, crop: int) -> np.ndarray:
    height, width = image.shape[:2]
    if min(height, width) < crop:
        raise CompressError(f"an image of {height} x {width} is smaller than crop={crop}", WHERE, "add size=")
    top, left = (height - crop) // 2, (width - crop) // 2
    return image[top : top + crop, left : left + crop]
