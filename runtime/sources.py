"""Where samples come from: an archive, an array, a folder of images, or a function that yields batches.

    photos.npz                arrays named after the model's inputs; or one array; or `images` with optional `labels`
    photos.npz#night          the array `night` of the archive
    batch.npy                 one array
    photos/                   PNG, JPEG, ... in this folder and the folders in it, sorted by path
    loader.py:batches         a function without arguments that yields batches, in a file
    package.loader:batches    ... in a module

A batch is an array, or a dict of arrays. Batches of a function may differ in height and width. Nothing is
ever unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..compiler.disguises import NUMPY_ARRAY, ZIP, disguised
from ..compiler.errors import CompressError, UsageError, nearest
from ..compiler.pipeline.registry import import_function
from ..compiler.pipeline.user_code import user_code
from ..compiler.report.formatting import bytesize
from .images import FOLDERS, ImageFiles, read_folder
from .memory import installed
from .parts import Parts, Rows
from .preprocess import Preprocess
from .stored_arrays import stored_array, stored_member

STORE = "store plain arrays with numpy.savez"
FORMS = 'yield arrays, or dicts by input name: {"x": images, "labels": classes}'


@dataclass(frozen=True)
class Source:
    """What was found: rows by model input, labels for all of them, the words for error messages, what was assumed."""

    rows: Mapping[str, Rows]
    labels: np.ndarray | None
    where: str
    notes: tuple[str, ...] = ()


def read_source(
    source: object,
    inputs: Sequence[str],
    channels: int,
    preprocess: Preprocess,
    samples: int | None = None,
    labels: str | None = None,
    classes: int | None = None,
) -> Source:
    """The rows for the model inputs named `inputs`.

    Args:
        source: a spec as in the module docstring, an array, a mapping of arrays, a function or an iterable of batches.
        channels: how many channels images are read with.
        samples: how many are wanted; a function is not asked for more. None: all.
        labels: the array that holds the labels; `folders`: the sub-folders of an image folder, sorted, are the classes.
        classes: how many the network tells apart, if known.

    Raises:
        CompressError: nothing there, not readable, or no array for an input.
    """
    if isinstance(source, Path | str):
        folder = _image_folder(str(source))
        if folder is not None:
            return _read_folder(folder, inputs, ImageFiles((), channels, preprocess), samples, labels, classes)
        return _read_spec(str(source), inputs, samples, labels)
    if isinstance(source, np.ndarray):
        return _pick({"data": cast("np.ndarray", source)}, inputs, "data", None, labels)
    if isinstance(source, Mapping):
        return _pick(cast("Mapping[str, np.ndarray]", source), inputs, "data", None, labels)
    return _pick(_gather(source, samples, "data"), inputs, "data", None, labels)


def _image_folder(spec: str) -> Path | None:
    path, key = _split(spec)
    return path if key is None and path.is_dir() else None


def _read_folder(
    path: Path, inputs: Sequence[str], files: ImageFiles, samples: int | None, labels: str | None, classes: int | None
) -> Source:
    """The images of a folder as rows like `files`."""
    if len(inputs) != 1:
        raise CompressError(f"a folder feeds one input; the model has {len(inputs)}", str(path), "give an .npz")
    if labels not in (None, FOLDERS):
        raise UsageError(f"a folder has no array '{labels}'", "--labels", f"'{FOLDERS}': sub-folders are the classes")
    found = read_folder(path)
    count = min(len(found.images), samples or len(found.images))
    known = None if labels is None else found.labels(classes)
    notes = (*found.notes(count, labels is not None), *replace(files, paths=found.images[:count]).notes())
    return Source({inputs[0]: replace(files, paths=found.images)}, known, str(path), notes)


def _read_spec(spec: str, inputs: Sequence[str], samples: int | None, labels: str | None) -> Source:
    path, key = _split(spec)
    if path.is_file() and path.suffix in (".npz", ".npy"):
        return _archive(path, inputs, key, labels)
    if not path.exists() and ":" in spec and "://" not in spec:
        return _pick(_gather(import_function(spec, "the loader", "--data"), samples, spec), inputs, spec, None, labels)
    if "://" in spec:
        raise UsageError("is an address, not a path", spec, "download it first")
    problem = "not a kind of data known here" if path.exists() else "no such data"
    raise UsageError(problem, spec, "--data takes .npz, .npy, a folder of images, or file.py:function")


def _split(spec: str) -> tuple[Path, str | None]:
    """The path, and the array that is chosen in it."""
    if Path(spec).exists() or "#" not in spec:
        return Path(spec), None
    text, _, key = spec.rpartition("#")
    return Path(text), key


def source_file(source: object) -> Path | None:
    """The file or folder that `source` is read from; None for a module and for what is in memory."""
    if not isinstance(source, Path | str):
        return None
    path = _split(str(source))[0]
    if not path.exists() and ":" in str(source):
        path = Path(str(source).rpartition(":")[0])
    return path if path.exists() else None


def _archive(path: Path, inputs: Sequence[str], key: str | None, labels: str | None) -> Source:
    try:
        stored = stored_array(path) if path.suffix == ".npy" else None
        if stored is not None:
            return _pick({"data": stored}, inputs, str(path), key, labels)
        content = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix == ".npy" else None)
        if isinstance(content, np.ndarray):
            return _pick({"data": cast("np.ndarray", content)}, inputs, str(path), key, labels)
        with content as archive:
            return _pick(Unpacked(archive, path), inputs, str(path), key, labels)
    except CompressError:
        raise
    except PermissionError as error:
        raise CompressError("cannot be read: Permission denied", str(path), "check its permissions") from error
    except (Exception, MemoryError) as error:  # a header may hold anything
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CompressError:
    """What to say of an array or an archive that numpy cannot read."""
    disguise = disguised(path)
    if disguise not in (None, NUMPY_ARRAY, ZIP):
        return CompressError(f"no arrays of numpy, but {disguise.what}", str(path), disguise.fix)
    if "pickle" in str(error) or "Python objects" in str(error):
        return CompressError("holds Python objects, which are never unpickled", str(path), STORE)
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    return CompressError(f"cannot be read: {reason}", str(path), STORE)


class Unpacked(Mapping[str, Rows]):
    """The arrays of an archive, found when they are asked for: where they lie (`stored_arrays`), or read whole;
    `CompressError` for one that is too large for memory."""

    def __init__(self, archive: Any, path: Path):
        self._archive, self._path, self._where = archive, path, str(path)
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.zip.infolist()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)

    def __getitem__(self, name: str) -> Rows:
        entry = self._entries.get(name)
        stored = None if entry is None else stored_member(self._path, self._archive.zip, entry)
        if stored is not None:
            return stored
        size, most = 0 if entry is None else entry.file_size, installed() // 2
        if size > most:
            what = f"array '{name}' unpacks to {bytesize(size)}, more than half of the memory ({bytesize(most)})"
            raise CompressError(what, self._where, "numpy.save it as .npy, which is read as needed")
        array = self._archive[name]
        if not isinstance(array, np.ndarray):
            raise CompressError(f"'{name}' is no array of numpy", self._where, STORE)
        return cast("np.ndarray", array)


def _gather(source: object, samples: int | None, where: str) -> dict[str, Rows]:
    """The batches of a function or an iterable, joined along axis 0, up to `samples`."""
    parts: dict[str, list[np.ndarray]] = {}
    count, held, most = 0, 0, installed() // 2
    with user_code("the loader fails", where, "correct the loader"):
        for number, batch in enumerate(_batches(source, where), 1):
            named = cast("Mapping[str, Any]", batch) if isinstance(batch, Mapping) else {"data": batch}
            arrays = {str(key): _array(value, f"{where}, batch {number}") for key, value in named.items()}
            for key, value in arrays.items():
                parts.setdefault(key, []).append(value)
            held += sum(value.nbytes for value in arrays.values())
            count += max((len(value) for value in arrays.values()), default=0)
            if samples is not None and count >= samples:
                break
            if held > most:
                what = f"{count} samples take {bytesize(held)}, more than half of the memory"
                raise CompressError(what, where, "fewer --samples; does the loader ever end?")
    return {key: _joined(key, values, where) for key, values in parts.items()}


def _joined(key: str, batches: list[np.ndarray], where: str) -> Rows:
    """One array; `Parts` of one type where samples differ in size."""
    filled = [batch for batch in batches if len(batch)] or batches[:1]
    if len({batch.shape[1:] for batch in filled}) == 1:
        return np.concatenate(filled)
    if filled[0].ndim < 2 or len({batch.ndim for batch in filled}) > 1:
        shapes = ", ".join(dict.fromkeys(str(batch.shape) for batch in filled))
        what = f"batches of '{key}' do not fit together: {shapes}"
        raise CompressError(what, where, "yield arrays of as many axes each")
    dtype = np.result_type(*filled)
    return Parts([batch.astype(dtype, copy=False) for batch in filled])


def _batches(source: object, where: str) -> Iterable[object]:
    """What a function returns, or an iterable, as batches; an array, or a dict of them, is one."""
    found = source() if callable(source) else source
    if isinstance(found, np.ndarray | Mapping):
        return cast("list[object]", [found])
    if not isinstance(found, Iterable) or isinstance(found, str | bytes):
        raise CompressError(f"expected batches, found {type(found).__name__}", where, FORMS)
    return cast("Iterable[object]", found)


def _array(value: object, where: str) -> np.ndarray:
    """A copy, as a loader may fill one buffer again and again."""
    if isinstance(value, tuple):
        raise CompressError("expected an array, found a tuple", where, FORMS)
    try:
        array = np.array(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CompressError(f"expected an array, found {type(value).__name__}: {error}", where, FORMS) from error
    if array.dtype.kind == "O" or not array.ndim:
        raise CompressError(f"expected an array of samples, found {type(value).__name__}", where, FORMS)
    return array


def _pick(arrays: Mapping[str, Rows], inputs: Sequence[str], where: str, key: str | None, labels: str | None) -> Source:
    """The arrays that feed `inputs`, and the labels: those asked for, or `labels` where no other array was chosen."""
    names = list(arrays)
    if labels is not None and labels not in names:
        raise UsageError(f"{where} has no array '{labels}'", "--labels", nearest(labels, names))
    if labels is None and key is None and "labels" in names and "labels" not in inputs:
        labels = "labels"
    chosen = _assign(names, inputs, where, key, labels)
    rows = {name: arrays[array] for name, array in chosen.items()}
    return Source(rows, None if labels is None else _labels(arrays[labels], where), where)


def _labels(rows: Rows, where: str) -> np.ndarray:
    if isinstance(rows, Parts):
        raise CompressError("labels differ in shape", where, "one number per sample")
    return cast("np.ndarray", rows) if isinstance(rows, np.ndarray) else rows[:]


def _assign(names: list[str], inputs: Sequence[str], where: str, key: str | None, labels: str | None) -> dict[str, str]:
    """Model input -> array."""
    if key is not None and key not in names:
        raise UsageError(f"no array '{key}'", where, nearest(key, names))
    if key is None and all(name in names for name in inputs):
        return {name: name for name in inputs}
    candidates = [key] if key else ["images"] if "images" in names else [name for name in names if name != labels]
    if not candidates:
        raise CompressError("holds no samples", where, "at least one is needed")
    if len(inputs) == 1 and len(candidates) == 1:
        return {inputs[0]: candidates[0]}
    raise CompressError(
        f"expected arrays for the inputs {', '.join(inputs)}, found {', '.join(names)}",
        where,
        "name the arrays after the inputs, or choose one with #NAME",
    )
