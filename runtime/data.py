"""Calibration and test samples: `load_data` checks them against the model's inputs and serves them in batches.

float arrays go in as they are, and so do uint8 ones that lie as an input of uint8 takes them; uint8 images (N, H, W, C)
stay uint8 in memory and are preprocessed a batch at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError
from ..compiler.graph.shapes import infer_shapes
from ..compiler.pipeline.data import Data, Feeds
from .images import ImageFiles
from .parts import Parts, Rows, batch_bounds, several_shapes
from .preprocess import PRESETS, Preprocess, parse_preprocess
from .resizing import RESIZED, WHERE, Size
from .sources import Source, read_source
from .stored_arrays import StoredArray

CHANNELS = (1, 3, 4)
PIXELS = f"uint8 images can be normalised by {WHERE}"
MOST_CLASSES = 2**31
IN_MEMORY = 2**30
CHUNK = 2**24
"""Bytes that are looked at together."""
BATCH, LEAST, BATCH_BYTES = 128, 8, 2**22


@dataclass(frozen=True)
class Input:
    """A model input; None in `shape` is a dimension that the model leaves open."""

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {_words(self.shape)}"

    @property
    def channels_first(self) -> bool:
        """(N, C, H, W), unless only the last axis can be one of channels."""
        return len(self.shape) != 4 or self.shape[1] in CHANNELS or self.shape[3] not in CHANNELS

    @property
    def channels(self) -> int | None:
        return self.shape[1 if self.channels_first else 3] if len(self.shape) == 4 else None

    @property
    def size(self) -> Size | None:
        """Height and width of images, where both are fixed."""
        height, width = (self.shape[2:] if self.channels_first else self.shape[1:3]) if len(self.shape) == 4 else (0, 0)
        return (height, width) if height and width else None


@dataclass(frozen=True)
class Samples:
    """Data that fits a model; see `pipeline.data`.

    Attributes:
        rows: model input -> rows ready to be fed.
        samples: how many there are.
        labels: class per sample (samples,) int64, or None.
        description: where they came from.
        preprocess: how images become model input, or None.
        notes: what was assumed, a sentence each.
        fixed_batch: the only batch size the model takes, or None.
        largest_batch: at most so many samples in a batch, or None.
    """

    rows: Mapping[str, Rows]
    samples: int
    labels: np.ndarray | None
    description: str
    preprocess: Preprocess | None = None
    notes: tuple[str, ...] = ()
    fixed_batch: int | None = None
    largest_batch: int | None = None

    @property
    def digest(self) -> str:
        """sha256 of the stored values and of how they are preprocessed."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256(str(self.preprocess).encode())
        for name, column in self.rows.items():
            total.update(name.encode())
            for part in _parts(column):
                stored = part.source if isinstance(part, Images | Cast) else part
                first = stored[:1]
                total.update(f"{first.dtype}{(len(stored), *first.shape[1:])}".encode())
                for rows in _slices(stored):
                    total.update(np.ascontiguousarray(stored[rows]).data)
        return total.hexdigest()

    @property
    def shapes(self) -> np.ndarray | None:
        """Which samples have one shape; see `pipeline.data`."""
        return self._shapes

    @cached_property
    def _shapes(self) -> np.ndarray | None:
        return several_shapes(list(self.rows.values()))

    def batches(self, size: int) -> Iterator[Feeds]:
        step = self.fixed_batch or min(size, self.largest_batch or size)
        for start, stop in batch_bounds(self.samples, step, self.shapes):
            yield {name: rows[start:stop] for name, rows in self.rows.items()}

    def take(self, rows: np.ndarray) -> Feeds:
        return {name: _picked(column, rows) for name, column in self.rows.items()}


def sized_batches(data: Data, most: int = BATCH) -> Iterator[Feeds]:
    """All samples, `most` at once, but fewer where they are large.

    What is allocated for activations stays small, and is given back and taken again: at its highest VGG-16 takes 4.2 GB
    for 108 images of 224 x 224 in batches of 8, and no less time in larger ones.
    """
    return data.batches(min(most, batch_size(data)))


def batch_size(data: Data, most_bytes: int = BATCH_BYTES, least: int = LEAST) -> int:
    """How many samples go through a network at once: `least` where they are large."""
    size = min(BATCH, max(least, most_bytes // max(1, sample_bytes(data))))
    return data.fixed_batch or min(size, data.largest_batch or size)


def sample_bytes(data: Data) -> int:
    """The bytes of the largest input of one sample."""
    return max((array[:1].nbytes for feeds in one_of_each_shape(data) for array in feeds.values()), default=0)


def one_of_each_shape(data: Data) -> Iterator[Feeds]:
    """The first sample of every shape; of one shape a batch, where the model takes one size of it only."""
    if data.shapes is None:
        yield from islice(data.batches(1), 1)
        return
    for first in np.sort(np.unique(data.shapes, return_index=True)[1]):
        yield data.take(np.array([first]))


@dataclass(frozen=True)
class Images:
    """uint8 images as rows of model input: normalised, in the layout and type of `target`."""

    source: Rows
    preprocess: Preprocess
    target: Input

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: slice, /) -> np.ndarray:
        images = self.source[index]
        if images.ndim == 3:
            images = images[..., None]
        as_they_are = self.target.dtype.kind == "u"
        x = self.preprocess.ordered(images) if as_they_are else self.preprocess.values(images)
        if self.target.channels_first:
            x = np.moveaxis(x, 3, 1)
        return np.ascontiguousarray(x, self.target.dtype)


@dataclass(frozen=True)
class Framed:
    """uint8 images (N, H, W[, C]), resized, padded and cropped as they are read."""

    source: Rows
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: slice, /) -> np.ndarray:
        images = self.source[index]
        images = images[..., None] if images.ndim == 3 else images
        return np.stack([self.preprocess.frame(image) for image in images])


@dataclass(frozen=True)
class Cast:
    """Rows in another type."""

    source: Rows
    dtype: np.dtype

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: slice, /) -> np.ndarray:
        with np.errstate(over="ignore"):  # `load_data` refuses what the type cannot hold
            return np.ascontiguousarray(self.source[index], self.dtype)


def model_inputs(graph: gs.Graph) -> list[Input]:
    """What the model has to be fed."""
    return [
        Input(
            tensor.name,
            tensor.dtype if isinstance(tensor.dtype, np.dtype) else np.dtype(np.float32),
            tuple(size if isinstance(size, int) and size > 0 else None for size in tensor.shape or ()),
        )
        for tensor in graph.inputs
        if isinstance(tensor, gs.Variable)
    ]


def class_count(graph: gs.Graph) -> int | None:
    """How many classes the first output tells apart, where it is declared, or inferred, as (N, classes[, 1, 1])."""
    declared = _classes((graph.outputs[0].shape or ()) if graph.outputs else ())
    if declared is not None or not graph.outputs:
        return declared
    return _classes(infer_shapes(graph).get(graph.outputs[0].name, ()))


def _classes(shape: Sequence[Any]) -> int | None:
    known = len(shape) > 1 and isinstance(shape[1], int) and shape[1] > 1
    return shape[1] if known and all(size == 1 for size in shape[2:]) else None


def load_data(
    source: object,
    inputs: Sequence[Input],
    preprocess: Preprocess | None = None,
    samples: int | None = 1024,
    labels: str | np.ndarray | None = None,
    classes: int | None = None,
) -> Samples:
    """The first `samples` samples of `source` (None: all), checked.

    Args:
        source: a spec as in `sources`, an array, a mapping of arrays, a function or an iterable of batches.
        inputs: the model's.
        preprocess: for uint8 images; None is `unit`, with a note.
        labels: the labels, or the name of the array that holds them.
        classes: how many the model tells apart, if known.

    Raises:
        CompressError: shape, type or range cannot be the model's input; expected and found are named.
    """
    channels = next((size for entry in inputs if (size := entry.channels)), 3)
    names = [entry.name for entry in inputs]
    key = labels if isinstance(labels, str) else None
    found = read_source(source, names, channels, preprocess or PRESETS["unit"], samples, key, classes)
    total = _total(found)
    fixed = next((entry.shape[0] for entry in inputs if entry.shape and entry.shape[0]), None)
    count = _count(total, samples, fixed, found.where)
    notes = list(found.notes)
    if fixed and count < min(total, samples or total):
        notes.append(f"the model takes batches of {fixed}: {count} of {total} samples are used")
    fed = preprocess or PRESETS["unit"]
    kept = {entry.name: _first(entry, found.rows[entry.name], count, fed) for entry in inputs}
    rows = {entry.name: _fit(entry, kept[entry.name], preprocess, found.where, notes) for entry in inputs}
    given = found.labels if labels is None or isinstance(labels, str) else np.asarray(labels)
    checked = None if given is None else check_labels(given, total, classes, found.where)[:count]
    if count > 1 and all(_all_equal(column, count) for column in rows.values()):
        notes.append(f"all {count} samples are equal: nothing can be learnt from them")
    used = next((part.preprocess for each in rows.values() for part in _parts(each) if isinstance(part, Images)), None)
    said = str(source) if isinstance(source, Path | str) else found.where
    loaded = Samples(rows, count, checked, said, used, tuple(dict.fromkeys(notes)), fixed)
    if loaded.shapes is None:
        return loaded
    if (fixed or 1) > 1:
        what = f"samples have several shapes, the model takes batches of {fixed}"
        raise CompressError(what, found.where, "export it with an open batch, or give samples of one shape")
    several = f"samples have {len(np.unique(loaded.shapes))} shapes: MACs and times are those of the first"
    return replace(loaded, notes=(*loaded.notes, several))


def load_samples(
    graph: gs.Graph,
    data: object,
    preprocess: str | None = None,
    samples: int | None = None,
    labels: str | np.ndarray | None = None,
) -> Samples:
    """Data for a model, checked against its inputs and classes; see `load_data`."""
    chosen = None if preprocess is None else parse_preprocess(preprocess)
    return load_data(data, model_inputs(graph), chosen, samples, labels, class_count(graph))


def check_labels(labels: np.ndarray, count: int, classes: int | None, where: str) -> np.ndarray:
    """`labels` as (count,) int64; `CompressError` where they cannot be the classes of `count` samples."""
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.shape != (count,):
        one_hot = labels.ndim == 2 and len(labels) == count
        fix = "one number per sample" + (": labels.argmax(1), where they are one-hot" if one_hot else "")
        raise CompressError(f"expected {count} labels, found {_words(labels.shape)}", where, fix)
    if flat.dtype.kind not in "iu":
        kind = "text" if flat.dtype.kind in "US" else str(flat.dtype)
        raise CompressError(f"labels must be integers, found {kind}", where, "store class numbers, from 0")
    low, high = int(flat.min()), int(flat.max())
    if low < 0 or high >= (MOST_CLASSES if classes is None else classes):
        expected = f"0 to {MOST_CLASSES - 1}" if classes is None else f"0 to {classes - 1}"
        raise CompressError(f"expected labels {expected}, found {low} to {high}", where, "number the classes from 0")
    return flat.astype(np.int64)


def _picked(column: Rows, rows: np.ndarray) -> np.ndarray:
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return np.concatenate([column[int(run[0]) : int(run[-1]) + 1] for run in runs])


def _parts(rows: Rows) -> Sequence[Rows]:
    return rows.parts if isinstance(rows, Parts) else [rows]


def _slices(rows: Rows) -> Iterator[slice]:
    """All rows, some at a time."""
    step = max(1, CHUNK // max(1, rows[:1].nbytes))
    return (slice(start, start + step) for start in range(0, len(rows), step))


def _total(source: Source) -> int:
    counts = {name: _length(rows, name, source.where) for name, rows in source.rows.items()}
    if len(set(counts.values())) > 1:
        words = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise CompressError(f"inputs differ in their number of samples: {words}", source.where, "one row per sample")
    return next(iter(counts.values()), 0)


def _length(rows: Rows, name: str, where: str) -> int:
    if getattr(rows, "ndim", 1) == 0:
        raise CompressError(f"'{name}' is a single number", where, "samples lie along the first axis")
    if not hasattr(rows, "__len__"):
        raise CompressError(f"'{name}' is of type {type(rows).__name__}", where, "give an array")
    return len(rows)


def _count(total: int, samples: int | None, fixed: int | None, where: str) -> int:
    count = total if samples is None else min(total, samples)
    if total and samples is not None and samples < 1:
        raise CompressError(f"--samples {samples} leaves nothing", where, "at least 1")
    if not count:
        raise CompressError("holds no samples", where, "at least one is needed")
    if fixed and count < fixed:
        raise CompressError(f"the model takes batches of {fixed}, found {count} samples", where, "give more samples")
    return count - count % fixed if fixed else count


def _first(entry: Input, rows: Rows, count: int, preprocess: Preprocess) -> Rows:
    """The first `count` rows, images framed; image files are read at once where they fit in memory as uint8."""
    if isinstance(rows, ImageFiles):
        files = ImageFiles(rows.paths[:count], rows.channels, preprocess.sized(entry.size))
        return files[:] if files[:1].nbytes * count <= IN_MEMORY else files
    if isinstance(rows, Parts):
        return Parts([_first(entry, part, len(part), preprocess) for part in rows.first(count).parts])
    first = rows.first(count) if isinstance(rows, StoredArray) else rows[:count]
    shown = first[:1]
    is_framed = preprocess.frames and shown.ndim in (3, 4) and _are_images(entry, shown)
    return Framed(first, preprocess.sized(entry.size)) if is_framed else first


def _fit(entry: Input, rows: Rows, preprocess: Preprocess | None, where: str, notes: list[str]) -> Rows:
    """`rows` as they are fed to `entry`."""
    if isinstance(rows, Parts):
        said: list[list[str]] = [[] for _ in rows.parts]
        fitted = [_fit(entry, part, preprocess, where, own) for part, own in zip(rows.parts, said, strict=True)]
        notes.extend(max(said, key=len))
        return Parts(fitted)
    place = f"{where}, input '{entry.name}'"
    first = rows[:1]
    if _are_images(entry, first):
        return _images(entry, rows, preprocess, place, notes)
    _check_shape(entry, first.shape, str(first.dtype), place)
    if first.dtype.kind != entry.dtype.kind and not np.can_cast(first.dtype, entry.dtype, "safe"):
        raise CompressError(f"expected {entry}, found {first.dtype}", place, "store the array in the model's type")
    if preprocess is not None:
        notes.append(f"{WHERE} is for uint8 images: the {first.dtype} values go in as they are")
    fed = rows if first.dtype == entry.dtype else Cast(rows, entry.dtype)
    if entry.dtype.kind == "f":
        _check_values(rows, fed, place, notes)
    return fed


def _are_images(entry: Input, first: np.ndarray) -> bool:
    """uint8 values that are to become what `entry` takes."""
    wanted = len(entry.shape) == 4 or entry.dtype.kind == "f"
    return first.dtype == np.uint8 and wanted and not _is_ready(entry, first)


def _is_ready(entry: Input, first: np.ndarray) -> bool:
    """uint8 values for an input of uint8 that lie as it takes them, and do not look like images (N, H, W, C)."""
    return entry.dtype == first.dtype and _fits(entry, first.shape) and entry.channels not in (None, first.shape[-1])


def _images(entry: Input, rows: Rows, preprocess: Preprocess | None, place: str, notes: list[str]) -> Rows:
    shape = rows[:1].shape
    if len(shape) not in (3, 4) or len(entry.shape) != 4:
        raise CompressError(f"expected {entry}, found uint8 {_words(shape[1:], 'N')}", place, "images are N, H, W, C")
    if preprocess is None and entry.dtype.kind != "u":
        notes.append(f"no {WHERE} given: pixels are divided by 255 (unit)")
    fed = (preprocess or PRESETS["unit"]).sized(entry.size)
    channels = shape[3] if len(shape) == 4 else 1
    if entry.channels not in (None, channels):
        found = f"found uint8 {_words(shape[1:], 'N')} with {channels} channels last"
        raise CompressError(f"expected {entry}, {found}", place, "images are N, H, W, C")
    fed.check_channels(channels)
    if entry.dtype.kind == "u" and preprocess is not None and not fed.keeps_values:
        notes.append(f"the input is {entry.dtype}: pixels go in as they are, without mean, std and scale")
    if entry.dtype.kind == "i":
        _check_integers(entry, fed, place)
    images = Images(rows, fed, entry)
    _check_shape(entry, images[:1].shape, "images", place)
    return images


def _check_integers(entry: Input, preprocess: Preprocess, place: str) -> None:
    """`CompressError` where pixels become values that the integers of `entry` cannot hold."""
    values = preprocess.normalised(np.arange(256, dtype=np.uint8)[:, None])
    limits = np.iinfo(entry.dtype)
    if (values != np.rint(values)).any() or values.min() < limits.min or values.max() > limits.max:
        shown = f"pixels become {values.min():g} to {values.max():g}"
        fix = f"whole numbers: {WHERE} none, or scale=1:mean=128"
        raise CompressError(f"{shown}, which {entry.dtype} cannot hold", place, fix)


def _check_shape(entry: Input, shape: tuple[int, ...], kind: str, place: str) -> None:
    if _fits(entry, shape):
        return
    fix = f"{WHERE} with {RESIZED}" if kind == "images" else _rearranged(entry, shape)
    raise CompressError(f"expected {entry}, found {kind} {_words(shape[1:], 'N')}", place, fix)


def _rearranged(entry: Input, shape: tuple[int, ...]) -> str:
    """How an array becomes one that fits, where only its axes stand in the way."""
    axes = tuple(range(len(shape)))
    for order in ((0, *axes[-1:], *axes[1:-1]), (0, *axes[2:], *axes[1:2])):
        if _fits(entry, tuple(shape[axis] for axis in order)):
            return f"lay the axes as the input has them: array.transpose{order}"
    return "samples lie along the first axis"


def _fits(entry: Input, shape: tuple[int, ...]) -> bool:
    return len(shape) == len(entry.shape) and all(
        declared in (None, size) for declared, size in zip(entry.shape[1:], shape[1:], strict=True)
    )


def _check_values(stored: Rows, fed: Rows, place: str, notes: list[str]) -> None:
    """`stored` as `fed` to the model is finite; values that look like pixels are noted."""
    low, high = np.inf, -np.inf
    for some in _slices(fed):
        chunk = fed[some]
        if not np.isfinite(chunk).all():
            held = np.isfinite(stored[some]).all()
            what = f"holds values that {chunk.dtype} cannot hold" if held else "holds NaN or infinite values"
            raise CompressError(what, place, "correct the data")
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    if low >= 0 and 64 < high <= 65535:
        bits = 8 if high <= 255 else 16
        notes.append(f"values from {low:g} to {high:g} look like raw pixels of {bits} bits: {PIXELS}")


def _all_equal(rows: Rows, count: int) -> bool:
    first = rows[:1]
    return all(np.array_equal(rows[index : index + 1], first) for index in range(1, count))


def _words(shape: Sequence[int | None], first: str | None = None) -> str:
    sizes = ["?" if size is None else str(size) for size in shape]
    return f"({', '.join([first, *sizes] if first else sizes)})"
