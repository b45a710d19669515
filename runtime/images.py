"""Folders of images as samples: which files count, which class each has, and how one becomes 8-bit pixels.

Files. Hidden ones do not count (a name that begins with a dot, `__MACOSX` and their like, and all that lies below);
links to folders are followed.

Classes (`--labels folders`). The sub-folders, sorted as text, numbered from 0, empty ones included, as torchvision's
ImageFolder does it. Where a number could be another one than in training, nothing is guessed: no image may lie outside
of the sub-folders, and they are as many as the network has classes.

Pixels.

1. 16-bit grey is divided by 257, so that white stays white (12 bits likewise); 16-bit colour keeps its upper byte,
   which is what Pillow reads of it.
2. 32-bit integers and floats have no range that is known: refused.
3. Palettes, 1 bit, CMYK and YCbCr become grey or RGB, as many channels as the model has.
4. Alpha is dropped unless the model has four channels: the colours below count, also where nothing is seen of them.
5. The orientation that EXIF gives is applied. Of several frames or pages the first is read.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler.disguises import disguised
from ..compiler.errors import CompressError
from ..compiler.report.formatting import first_few
from .preprocess import Preprocess
from .resizing import RESIZED, WHERE, import_pillow

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
IMAGE_FILES = re.compile(rf".*({'|'.join(map(re.escape, sorted(SUFFIXES)))})", re.IGNORECASE)
"""Of a folder, by their path in it."""
FOLDERS = "folders"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SYSTEM = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"})
SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
GREY_IN_16_BIT = frozenset({"PNG", "PPM"})
"""Formats whose grey Pillow may also read as `I`: 0 to 65535 all the same."""
WITH_PREVIEW = frozenset({"MPO"})
"""Formats whose further frames belong to the first."""
LIBTIFF = frozenset({".tif", ".tiff"})
BITS_PER_SAMPLE = 258
NAMED = 3


@dataclass(frozen=True)
class ImageFolder:
    """What lies in a folder.

    Attributes:
        images: their paths, sorted.
        folders: names of the sub-folders, sorted.
        others: files that are no images.
    """

    path: Path
    images: list[Path]
    folders: list[str]
    others: list[Path]

    def labels(self, classes: int | None) -> np.ndarray:
        """The class of each image (images,) int64; see the module docstring.

        Args:
            classes: how many the network has, where that is known.
        """
        where, owners = str(self.path), [self._owner(image) for image in self.images]
        loose = [image for image, owner in zip(self.images, owners, strict=True) if owner is None]
        if loose and self.folders:
            what = f"{_plural(len(loose), 'image')} in no sub-folder, so in no class: {first_few(loose)}"
            raise CompressError(what, where, "move or remove")
        if loose:
            raise CompressError("has no sub-folders, so no classes", where, "leave out --labels, or give a folder each")
        if classes is not None and len(self.folders) != classes:
            empty = sorted(set(self.folders).difference(filter(None, owners)))
            more = f" ({first_few(empty)} without images)" if empty else ""
            what = f"has {len(self.folders)} sub-folders{more}, the network has {classes} classes"
            raise CompressError(what, where, "one sub-folder for each class, or give labels by number in an .npz")
        return np.array([self.folders.index(str(owner)) for owner in owners], np.int64)

    def notes(self, count: int, labelled: bool) -> Iterator[str]:
        """What is to be said of the first `count` images."""
        if self.others:
            yield f"{_plural(len(self.others), 'file')} left out, of a kind that is not read: {first_few(self.others)}"
        seen, known = len({self._owner(image) for image in self.images[:count]}), len(self.folders)
        if count < len(self.images) and seen < known:
            yield f"the first {count} images are from {seen} of {known} sub-folders: --samples takes more"
        if labelled and all(name.isdecimal() for name in self.folders):
            if self.folders != sorted(self.folders, key=int):
                yield f"sub-folders are classes sorted as text: {', '.join(self.folders[:NAMED])}, ..."
            elif self.folders != [str(number) for number in range(len(self.folders))]:
                yield f"the sub-folder {self.folders[0]} is class 0: they are numbered in order, not by their names"

    def _owner(self, image: Path) -> str | None:
        """The sub-folder of `path` that it lies in."""
        parts = image.relative_to(self.path).parts
        return parts[0] if len(parts) > 1 else None


def read_folder(path: Path) -> ImageFolder:
    """See the module docstring; `CompressError` where there is no image, or a folder cannot be read."""
    files, hidden = list[Path](), 0
    for folder, names, inside in _walk(path):
        seen = [name for name in inside if not _is_hidden(name)]
        hidden += len(inside) - len(seen)
        files += [folder / name for name in seen]
        names[:] = sorted(name for name in names if not _is_hidden(name))
    images = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
    if not images:
        what = "holds no images" + (" but hidden files" if hidden and not files else "")
        raise CompressError(what, str(path), f"known kinds: {', '.join(sorted(SUFFIXES))}")
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not _is_hidden(entry.name))
    return ImageFolder(path, images, folders, sorted(set(files).difference(images)))


def _walk(path: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`os.walk` through links, but not through one that leads back up."""

    def refuse(error: OSError) -> None:
        raise CompressError(
            f"cannot be read: {error.strerror}", str(error.filename), "check its permissions"
        ) from error

    for folder, names, files in os.walk(path, onerror=refuse, followlinks=True):
        yield Path(folder), names, files
        above = {os.path.realpath(parent) for parent in (folder, *Path(folder).parents)}
        names[:] = [name for name in names if os.path.realpath(Path(folder) / name) not in above]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM


@dataclass(frozen=True)
class ImageFiles:
    """Image files as rows: uint8 (n, H, W, C), resized, padded and cropped by `preprocess`."""

    paths: Sequence[Path]
    channels: int
    preprocess: Preprocess
    _shape: list[tuple[int, ...]] = field(default_factory=list["tuple[int, ...]"])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: slice, /) -> np.ndarray:
        return np.stack([self._read(path) for path in self.paths[index]])

    def notes(self) -> Iterator[str]:
        """What is lost of the images: transparency, further frames."""
        clear, several = list[Path](), list[Path]()
        for path in self.paths:
            with _opened(path) as image:
                if self.channels != 4 and image.has_transparency_data:
                    clear.append(path)
                if getattr(image, "n_frames", 1) > 1 and image.format not in WITH_PREVIEW:
                    several.append(path)
        if clear:
            yield f"the alpha channel is dropped, the colours below it count: {first_few(clear)}"
        if several:
            yield f"of images with several frames or pages the first is read: {first_few(several)}"

    def _read(self, path: Path) -> np.ndarray:
        with _opened(path) as image:
            pixels = _pixels(image, MODES.get(self.channels, "RGB"), path)
        try:
            framed = self.preprocess.frame(pixels.reshape(*pixels.shape[:2], -1))
        except CompressError as error:
            raise CompressError(error.what, str(path), f"{error.where}: {error.fix}") from error
        self._shape[:] = self._shape or [framed.shape]
        if framed.shape != self._shape[0]:
            found = f"found {_sizes(framed.shape)}, expected {_sizes(self._shape[0])} like the first image"
            raise CompressError(f"images differ in size: {found}", str(path), f"{WHERE} with {RESIZED}")
        return framed


@contextmanager
def _opened(path: Path) -> Generator[Any, None, None]:
    """The image, not yet decoded; what is wrong with it becomes an error that names the file."""
    pillow = import_pillow()
    try:
        with _library_errors(path), warnings.catch_warnings(), pillow.open(path) as image:
            warnings.simplefilter("ignore")
            yield image
    except (CompressError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like
        disguise = disguised(path)
        if disguise is not None:
            raise CompressError(f"not an image, but {disguise.what}", str(path), disguise.fix) from error
        reason = "" if isinstance(error, pillow.UnidentifiedImageError) else f": {_reason(error)}"
        raise CompressError(f"not a readable image{reason}", str(path), "remove it or store it again") from error


@contextmanager
def _library_errors(path: Path) -> Generator[None, None, None]:
    """`ValueError` for damage that libtiff writes of to standard error, and that Pillow may not notice."""
    if path.suffix.lower() not in LIBTIFF:
        yield
        return
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").splitlines()
    damage = [line for line in lines if line.strip() and "warning" not in line.lower()]
    if damage:
        raise ValueError(damage[0])


def _reason(error: Exception) -> str:
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _pixels(image: Any, mode: str, path: Path) -> np.ndarray:
    """uint8 (H, W[, C]); see the module docstring."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    wide = upright.mode in SIXTEEN_BIT or (upright.mode == "I" and image.format in GREY_IN_16_BIT)
    if upright.mode in ("I", "F") and not wide:
        kind = "32-bit integers" if upright.mode == "I" else "floats"
        raise CompressError(f"its pixels are {kind}, of unknown range", str(path), "store 8 or 16 bits, or an .npy")
    if wide:
        most = 2 ** _bits(image) - 1
        values = np.asarray(upright).astype(np.uint32) * 255
        upright = import_pillow().fromarray(((values + most // 2) // most).astype(np.uint8))
    return np.asarray(upright.convert(mode), np.uint8)


def _bits(image: Any) -> int:
    """Of a pixel that Pillow widens to 16: a TIFF may hold 12."""
    return int(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0])


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _plural(count: int, word: str) -> str:
    return f"{count} {word} is" if count == 1 else f"{count} {word}s are"
