"""From uint8 images to model input: a preset, or a spec written like the options of a pass.

    y[c] = (x[c] / scale - mean[c]) / std[c]        c in the order in which the network reads its channels

after the picture was resized, padded and cropped. A spec is `key=value` joined by `:`; a list is joined by `,` or `/`;
a key alone is `true`; a preset may come first, and what follows changes it:

    mean=0.485,0.456,0.406:std=0.229,0.224,0.225:size=256:crop=224
    size=416:letterbox:bgr:scale=1
    imagenet:size=320:crop=320

1. Values. `scale` is 255 where nothing is said; 1 leaves the pixels 0 to 255. `mean` and `std` hold one value per
   channel, or one for all; they refer to pixels divided by `scale` and default to 0 and 1. `bgr`: the network reads
   blue first, and so do `mean` and `std`.
2. Size. `size` is the shorter side after a resize that keeps the ratio, `crop` the side of the centre crop; without
   them images keep their size. Both may be height x width: with `size=320x640` the smallest picture that covers it.
3. `resize`: both sides become `size`, whatever the ratio. `letterbox`: both fit into `size`, and what is left is filled
   with pixels of `pad` (114): to the right and below (as YOLOX does it), with `letterbox=centre` on all sides (as
   YOLOv5 does it). Without `size` they take the network's own, where it is fixed. Both replace `size` and `crop` of a
   preset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..compiler.errors import UsageError, nearest
from ..compiler.report.formatting import counted
from .resizing import WHERE, Size, centre, cover, letterbox, size_text, stretch

MOST_SIDE = 8192
LEAST_SCALE, MOST_SCALE = 1e-6, 1e6
Corner = Literal["top-left", "centre"]


@dataclass(frozen=True)
class Preprocess:
    """What happens to an image.

    Attributes:
        mean, std: per channel (or one for all), in the network's order, of pixels divided by `scale`.
        size: height and width to cover, to fit into or to take on, in pixels; None: those of the image, and with
            `letterbox` or `resize` those of the network.
        crop: height and width of the centre crop, in pixels; None keeps all.
        scale: what pixels 0..255 are divided by.
        bgr: the network reads the first three channels the other way round.
        letterbox: where the picture lies in its frame; None: there is no frame.
        pad: value of the pixels of the frame.
        resize: the ratio is not kept.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: Size | None = None
    crop: Size | None = None
    scale: float = 255.0
    bgr: bool = False
    letterbox: Corner | None = None
    pad: int = 114
    resize: bool = False

    def __str__(self) -> str:
        """A spec that is parsed to the same."""
        parts = [f"{key}={','.join(map(str, getattr(self, key)))}" for key in ("mean", "std")]
        parts += [f"scale={self.scale}"] if self.scale != 255 else []
        parts += [f"{key}={size_text(size)}" for key in ("size", "crop") if (size := getattr(self, key)) is not None]
        parts += [key for key in ("resize", "bgr") if getattr(self, key)]
        parts += ["letterbox" if self.letterbox == "top-left" else f"letterbox={self.letterbox}"] * bool(self.letterbox)
        return ":".join(parts + ([f"pad={self.pad}"] if self.pad != 114 else []))

    @property
    def frames(self) -> bool:
        """Whether it changes the size of pictures."""
        return bool(self.size or self.crop or self.letterbox or self.resize)

    @property
    def keeps_values(self) -> bool:
        """Whether pixels stay 0 to 255."""
        return self.scale == 1 and not any(self.mean) and all(value == 1 for value in self.std)

    def sized(self, own: Size | None) -> Preprocess:
        """With the network's `own` size where it takes that; `UsageError` where it is open."""
        if self.size or not (self.letterbox or self.resize):
            return self
        if own is None:
            key = "letterbox" if self.letterbox else "resize"
            raise UsageError(f"{key} needs a size, the network leaves its own open", WHERE, "add size=")
        return replace(self, size=own)

    def frame(self, image: np.ndarray) -> np.ndarray:
        """One uint8 image (H, W, C), resized, padded and cropped to uint8 (H', W', C); see `sized`."""
        if self.size is not None:
            image = self._resized(image, self.size)
        return image if self.crop is None else centre(image, self.crop)

    def ordered(self, images: np.ndarray) -> np.ndarray:
        """(..., C) with the channels as the network reads them."""
        return images[..., [2, 1, 0, *range(3, images.shape[-1])]] if self.bgr else images

    def values(self, images: np.ndarray) -> np.ndarray:
        """uint8 (..., C) -> float32 (..., C), as the network reads them."""
        return self.normalised(self.ordered(images))

    def normalised(self, images: np.ndarray) -> np.ndarray:
        """uint8 (..., C) -> float32 (..., C), channels in the network's order already."""
        x = images.astype(np.float32) / np.float32(self.scale)
        return (x - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)

    def check_channels(self, channels: int) -> None:
        """`UsageError` where images of so many channels cannot be meant."""
        count = max(len(self.mean), len(self.std))
        if count not in (1, channels):
            what = f"mean and std have {count} values, images {counted(channels, 'channel')}"
            raise UsageError(what, WHERE, "give one value per channel, or one for all")
        if self.bgr and channels not in (3, 4):
            raise UsageError(f"bgr is for colours, images have {channels} channels", WHERE, "leave it out")

    def _resized(self, image: np.ndarray, size: Size) -> np.ndarray:
        if self.letterbox:
            return letterbox(image, size, self.pad, self.letterbox == "centre")
        return stretch(image, size) if self.resize else cover(image, size)


PRESETS = {
    "imagenet": Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), size=(256, 256), crop=(224, 224)),
    "cifar10": Preprocess((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "unit": Preprocess(),
    "none": Preprocess(scale=1.0),
    "tf": Preprocess((0.5,), (0.5,)),
    "yolox": Preprocess(scale=1.0, bgr=True, letterbox="top-left"),
    "yolov5": Preprocess(letterbox="centre"),
}


def parse_preprocess(text: str) -> Preprocess:
    """The preset that `text` names, with the changes that follow, or the spec that it spells.

    Raises:
        UsageError: anything else.
    """
    first, *rest = text.split(":")
    if first in PRESETS:
        return _checked(_changed(PRESETS[first], rest))
    if first.partition("=")[0] in _READERS:
        return _checked(_changed(Preprocess(), [first, *rest]))
    if "." in first and "=" not in first:
        what = f"'{text}' looks like a function; it takes a preset or a spec"
        raise UsageError(what, WHERE, "--data file.py:function yields arrays as they go in")
    if "=" in first:
        raise _unknown_key(first.partition("=")[0])
    raise UsageError(f"unknown preset '{first}'", WHERE, nearest(first, [*PRESETS, *_READERS]))


def _changed(base: Preprocess, parts: list[str]) -> Preprocess:
    options: dict[str, Any] = {}
    for part in parts:
        key, given, value = part.partition("=")
        if key not in _READERS:
            raise _unknown_key(key)
        if key in options:
            raise UsageError(f"{key} is given twice", WHERE, "leave one out")
        options[key] = _READERS[key](key, value if given else None)
    if options.get("letterbox") or options.get("resize"):
        base = replace(base, size=None, crop=None, letterbox=None, resize=False, pad=Preprocess.pad)
    return replace(base, **options)


def _unknown_key(key: str) -> UsageError:
    if key in PRESETS:
        return UsageError(f"the preset '{key}' comes late", WHERE, f"write it first: {key}:size=..")
    return UsageError(f"unknown key '{key}'", WHERE, nearest(key, _READERS))


def _floats(key: str, text: str | None) -> tuple[float, ...]:
    return tuple(_number(key, part) for part in (text or "").replace("/", ",").split(","))


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{key} cannot be '{text}'", WHERE, "numbers joined by commas") from error


def _scale(key: str, text: str | None) -> float:
    value = _number(key, text or "")
    if not LEAST_SCALE <= value <= MOST_SCALE:
        fix = f"a number, {LEAST_SCALE:g} to {MOST_SCALE:g}: 255, or 1 to keep pixels 0 to 255"
        raise UsageError(f"{key} cannot be '{text}'", WHERE, fix)
    return value


def _size(key: str, text: str | None) -> Size:
    sides = (text or "").split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 1 <= int(side) <= MOST_SIDE for side in sides):
        fix = f"a whole number of pixels, 1 to {MOST_SIDE}, or height x width: {key}=320x640"
        raise UsageError(f"{key} cannot be '{text or ''}'", WHERE, fix)
    return int(sides[0]), int(sides[-1])


def _byte(key: str, text: str | None) -> int:
    if text is None or not text.isdecimal() or int(text) > 255:
        raise UsageError(f"{key} cannot be '{text or ''}'", WHERE, "a pixel, 0 to 255")
    return int(text)


def _choice(words: Mapping[str, Any]) -> Callable[[str, str | None], Any]:
    """Reads one of the words; the key alone is the first."""

    def read(key: str, text: str | None) -> Any:
        word = next(iter(words)) if text is None else text
        if word not in words:
            raise UsageError(f"{key} cannot be '{word}'", WHERE, f"{key} alone, or one of {', '.join(words)}")
        return words[word]

    return read


_FLAG = _choice({"true": True, "false": False})
_READERS: dict[str, Callable[[str, str | None], Any]] = {
    "mean": _floats,
    "std": _floats,
    "scale": _scale,
    "size": _size,
    "crop": _size,
    "letterbox": _choice({"top-left": "top-left", "centre": "centre", "center": "centre", "false": None}),
    "pad": _byte,
    "resize": _FLAG,
    "bgr": _FLAG,
}


def _checked(preprocess: Preprocess) -> Preprocess:
    _check_values(preprocess)
    if preprocess.letterbox and preprocess.resize:
        raise UsageError(
            "letterbox and resize exclude each other", WHERE, "the one keeps the ratio, the other does not"
        )
    if preprocess.letterbox and preprocess.crop:
        raise UsageError("letterbox leaves nothing to crop", WHERE, "leave crop= out")
    if preprocess.pad != Preprocess.pad and not preprocess.letterbox:
        raise UsageError("pad is for letterbox", WHERE, "add letterbox, or leave it out")
    _check_crop(preprocess)
    return preprocess


def _check_values(preprocess: Preprocess) -> None:
    if len({len(preprocess.mean), len(preprocess.std)} - {1}) > 1:
        raise UsageError("mean and std differ in length", WHERE, "one value per channel each, or one for all")
    units = f"in units of pixels divided by {preprocess.scale:g}"
    with np.errstate(all="ignore"):
        darkest, brightest = (preprocess.normalised(np.full(1, value, np.uint8)) for value in (0, 255))
    if not all(value > 0 for value in preprocess.std) or not np.isfinite(brightest - darkest).all():
        raise UsageError("mean must be finite and std positive", WHERE, units)
    if np.any(darkest == brightest):
        raise UsageError("mean or std is so large that all pixels are alike", WHERE, units)


def _check_crop(preprocess: Preprocess) -> None:
    size, crop = preprocess.size, preprocess.crop
    if crop and preprocess.resize and not size:
        raise UsageError("resize takes the network's size, which leaves nothing to crop", WHERE, "add size=")
    if crop and size and (crop[0] > size[0] or crop[1] > size[1]):
        what = f"crop {size_text(crop)} exceeds size {size_text(size)}"
        raise UsageError(what, WHERE, "a smaller crop=, or a larger size=")
