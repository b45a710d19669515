"""The files of a run: what it reads and what it writes, with what follows from a name that was given.

The model may be replaced where `-o` names it; nothing else that is read is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from ..compiler.errors import UsageError
from ..compiler.files import Place, beside, is_same_file
from ..compiler.graph.io import Model, data_file
from ..compiler.pipeline.base import Pass
from ..compiler.pipeline.checkpoints import STEP_FILES
from ..compiler.pipeline.options import RunOptions
from ..compiler.targets.calibration_cache import SUFFIX as CALIBRATION
from ..runtime.images import IMAGE_FILES
from ..runtime.quality.own_metric import metric_file
from ..runtime.sources import source_file

MODEL = "the model"
NO_MODELS = (".engine", ".plan", ".trt", ".pt", ".pth", ".tflite", ".json", ".html")
NO_REPORTS = (".csv", ".engine", ".md", ".pdf", ".txt")
BISECTIONS = re.compile(r"bisect-\d{3}-[^/]*/.*")


def read_by(source: Model, passes: Sequence[Pass], options: RunOptions) -> Iterator[Place]:
    """What a run reads."""
    yield from model_places(source)
    yield from data_place("--data", options.data)
    metric = metric_file(options.metric)
    if metric is not None:
        yield Place("the file of --metric", metric)
    yield from (Place("a plug-in", Path(plugin)) for plugin in options.plugins if plugin.endswith(".py"))
    yield from (place for place in _named_by_options(passes, options) if place.path.exists())
    yield from read_by_passes(passes)


def read_by_passes(passes: Sequence[Pass]) -> Iterator[Place]:
    """The files that options of passes name and that must be there."""
    for entry in passes:
        for option in fields(entry):
            named = option.metadata.get("reads", _nothing)(getattr(entry, option.name))
            yield from (Place(_word(entry, option.name), path) for path in named)


def written_by(source: Model, passes: Sequence[Pass], options: RunOptions) -> Iterator[Place]:
    """What a compression writes; `UsageError` for a name that says it is something else."""
    _check_suffixes(options)
    if options.output is not None:
        output = Path(options.output)
        yield Place("-o", output, replaces=MODEL)
        made = {suffix for entry in passes for suffix in entry.sidecars(options)}
        for suffix in sorted({CALIBRATION, *made}) if output.name else ():
            yield Place(f"the {suffix} file beside -o", output.with_suffix(suffix), fresh=suffix in made)
        if output.name and not _replaces(options.output, source):
            yield Place("the external data of -o", data_file(output), fresh=False)
    if options.report is not None:
        yield Place("--report", Path(options.report))
    if options.dump_dir is not None:
        yield Place("--dump-dir", Path(options.dump_dir), STEP_FILES)
    yield from made_by_options(passes, options)


def _check_suffixes(options: RunOptions) -> None:
    if options.output is not None and Path(options.output).suffix.lower() in NO_MODELS:
        fix = "name it .onnx; engines are built of that, on the device"
        raise UsageError("what is written is an ONNX model", str(options.output), fix)
    if options.report is not None and Path(options.report).suffix.lower() in NO_REPORTS:
        raise UsageError("a report is a page or JSON", str(options.report), "name it .html or .json")


def frontier_written(source: Model, passes: Sequence[Pass], options: RunOptions) -> Iterator[Place]:
    """What a frontier writes: its figures, the table and the drawing."""
    if options.output is not None:
        output, *others = frontier_files(Path(options.output))
        yield Place("-o", output)
        yield from (Place(f"the {path.suffix} file beside -o", path) for path in others)
    yield from made_by_options(passes, options)


def frontier_files(output: Path) -> list[Path]:
    """The JSON, the table and the drawing."""
    return [output, *(beside(output, suffix) for suffix in (".csv", ".svg"))]


def bisection_written(folder: Path, source: Model, passes: Sequence[Pass], options: RunOptions) -> Iterator[Place]:
    """What a bisection writes below `folder`."""
    yield Place("--folder", folder, BISECTIONS)
    yield from made_by_options(passes, options)


def model_places(source: Model) -> list[Place]:
    """The model and its external data."""
    return [Place(MODEL if file == source.path else "the model's external data", file) for file in sorted(source.files)]


def made_by_options(passes: Sequence[Pass], options: RunOptions) -> Iterator[Place]:
    """Files that options of the run or of passes name, and that are made where they are missing."""
    missing = [place for place in _named_by_options(passes, options) if not place.path.exists()]
    for index, place in enumerate(missing):
        if not any(is_same_file(place.path, other.path) for other in missing[:index]):
            yield Place(place.word, place.path, fresh=False)


def data_place(word: str, data: object) -> Iterator[Place]:
    """The file, or the pictures of the folder, that data are read from."""
    found = source_file(data)
    if found is not None:
        yield Place(f"what {word} reads", found, IMAGE_FILES if found.is_dir() else None)


def _named_by_options(passes: Sequence[Pass], options: RunOptions) -> Iterator[Place]:
    if options.sensitivity_file is not None:
        yield Place("the file of --sensitivity", Path(options.sensitivity_file))
    for entry in passes:
        for option in fields(entry):
            name = getattr(entry, option.name) if option.metadata.get("is_file") else None
            if name is not None:
                yield Place(_word(entry, option.name), Path(name))


def _word(entry: Pass, option: str) -> str:
    return f"the file of {entry.name}:{option.replace('_', '-')}"


def _nothing(value: object) -> list[Path]:
    return []


def _replaces(output: str | None, source: Model) -> bool:
    return output is not None and source.path is not None and is_same_file(Path(output), source.path)
