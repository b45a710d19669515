"""What a run is asked for, as one value.

Flags of the command line, keys of a config file, the key of a resumed run, the options in the report and the command
that repeats a run are derived from the fields of `RunOptions`: a new option is a new field, and nothing else. Passes
read it (`Context.options`), and nobody writes it.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import UsageError, nearest
from .ranges import INFINITY

if TYPE_CHECKING:
    import numpy as np

PathLike = str | os.PathLike[str]
MetricFunction = Callable[[Any], float]
DATA, SCOPE, ENGINE, WRITTEN, WORK = "Data", "Nodes", "Engine", "What is written", "How it runs"
DEFAULT_SAMPLES = 1168
"""Of which an eighth is held out, so that 1,024 are fitted to."""
FLAG = "flag"
UNUSED = {
    "frontier": ("report", "dump_dir", "keep_going", "prepare", "legalize", "plugin_operators"),
    "bisect": ("output", "report", "dump_dir", "keep_going", "overwrite"),
}
"""Options that a driver has no use for, and refuses."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {"frontier": {"samples": 2 * DEFAULT_SAMPLES, "jobs": -1}}
"""Of a driver, where they are not those of the fields."""


@dataclass(frozen=True)
class Flag:
    """How the command line takes an option, and where else it counts.

    Attributes:
        help: a line.
        heading: of the help's section; None for the general one.
        names: as they are typed; the field's own name if none are given. One that begins with --no- stands for False.
        kind: what is typed, where the type of the default does not give it.
        least, most: the smallest and the largest number.
        decides: its value decides what comes out: a run with another value cannot be resumed. Data
            decide by their content, passes by their spelling and source.
        repeated: it stands in the command that repeats a run.
    """

    help: str
    heading: str | None = None
    names: tuple[str, ...] = ()
    kind: type | None = None
    least: int | None = None
    most: int | None = None
    decides: bool = False
    repeated: bool = True


def _option(default: Any, help: str, heading: str | None = None, *names: str, **more: Any) -> Any:
    return field(default=default, metadata={FLAG: Flag(help, heading, names, **more)})


@dataclass(frozen=True)
class RunOptions:
    """All options of a run, beside the model and the pipeline.

    Attributes:
        output, report: files to write the model and the report to (.html, or JSON); None writes nothing.
        target: name of the engine to compile for.
        data: calibration samples, see `runtime.sources`; None compresses from the weights alone.
        samples: how many of them are used; None takes all.
        labels: classes of the samples, or the name of the array that holds them; for the report, and for budgets that
            ask for accuracy.
        metric: what the network is judged by: auto, agreement, pixels, error or accuracy (`runtime.quality.judge`), or
            a function or a command of the user's (`runtime.quality.own_metric`).
        preprocess: preset or spec for uint8 images, see `runtime.preprocess`.
        include, exclude: regular expressions over node names; exclude wins.
        overrides: options of single nodes, see `pipeline.overrides`: "layer4.*:basis.rank=64".
        plugins: Python files or modules that register passes.
        dump_dir: folder for the model after each pass; the same run goes on behind the last pass that finished there.
        keep_going: a pass that fails is left out, and the next one goes on with the model from before it. What repeats
            a fault of a pass is written to `fail-NNN-PASS` in `dump_dir`, or in the working folder.
        prepare: first fold constants and BatchNormalization, which leaves the outputs as they are.
        legalize: last write the model as the target's engine reads it, and refuse one that it cannot take.
        plugin_operators: operators that the engine has plug-ins for.
        shapes: sizes of inputs that the model leaves open, at which costs are counted; those of the data if not given.
        power_mode: of the device, for estimated latencies: MAXN, 30W, 15W or 10W on a Xavier, MAXN, 50W, 30W or 15W on
            an Orin.
        jobs: processes that share work that can be split, at most one per core, -1: as many; the result is the same.
        cluster: dask://host:port or ray://host:port, to share it with other machines.
        memory: bytes, or "2GB": how far the process may grow while it works on samples. More of them wait in temporary
            files, and fewer are worked on at once. Fine-tuning is not bounded by it.
        sensitivity_file: table of what each Conv's error costs, for passes that are given none; measured and written
            where it is not there.
        seed: of the random numbers; the same seed gives the same bytes.
        overwrite: replace existing files.
    """

    output: str | None = _option(
        None, "Default: MODEL.compressed.onnx beside the input; - is stdout.", WRITTEN, "--output", "-o", kind=Path
    )
    target: str = _option(
        "xavier", "xavier, xavier-8.2, -8.0, -dla, orin, orin-10.3, trt10 or ort.", ENGINE, decides=True
    )
    data: object = _option(None, ".npz, .npz#ARRAY, .npy, a folder of images, or file.py:function.", DATA, kind=str)
    samples: int | None = _option(DEFAULT_SAMPLES, "How many samples are used, counted from the first.", DATA, least=1)
    labels: str | np.ndarray | None = _option(None, "The array of the labels, for accuracy.", DATA, kind=str)  # noqa: RUF009
    metric: str | MetricFunction = _option(  # noqa: RUF009
        "auto",
        "What to judge by: auto, agreement, pixels, error, accuracy, map.py:map50, or a command with {}.",
        DATA,
        decides=True,
    )
    preprocess: str | None = _option(
        None, "imagenet, cifar10, unit, none, tf, yolox, yolov5, or mean=..:std=..:size=..:crop=..", DATA
    )
    include: str | None = _option(None, "Regular expression: only these nodes.", SCOPE, decides=True)
    exclude: str | None = _option(None, "Regular expression: not these nodes.", SCOPE, decides=True)
    overrides: tuple[str, ...] = _option(
        (), "REGEX:PASS.OPTION=VALUE for the nodes it matches; may be repeated.", SCOPE, "--set", decides=True
    )
    plugins: tuple[str, ...] = _option((), "A file or module with passes; may be repeated.", None, "--plugin")
    report: str | None = _option(None, "Write a report: .html to read, else JSON.", WRITTEN, kind=Path, repeated=False)
    dump_dir: str | None = _option(
        None, "Folder for the model after each pass; the same command resumes there.", WRITTEN, kind=Path
    )
    keep_going: bool = _option(False, "Leave out a pass that fails, and go on with the next.", WORK)
    prepare: bool = _option(True, "Leave out the folding of constants and BatchNormalization.", None, "--no-prepare")
    legalize: bool = _option(
        True, "Write the model as the passes leave it, even if the target refuses it.", ENGINE, "--no-legalize"
    )
    plugin_operators: tuple[str, ...] = _option(
        (), "An operator that the engine has a plug-in for; may be repeated.", ENGINE, "--plugin-op", decides=True
    )
    shapes: tuple[str, ...] = _option(
        (), "NAME:1x3x224x224 of an open input, for costs; default: that of the data.", ENGINE, decides=True
    )
    power_mode: str = _option(
        "MAXN", "Power mode of the device, for estimated latencies: MAXN, 50W, 30W, 15W or 10W.", ENGINE, decides=True
    )
    jobs: int = _option(1, "Processes that share the work, at most one per core; -1: as many.", WORK, least=-1)
    cluster: str | None = _option(None, "dask://host:port or ray://host:port: workers that share the work.", WORK)
    memory: int | str | None = _option(
        None, "Most memory of the process while it works on samples: 2GB.", WORK, kind=str
    )
    sensitivity_file: str | None = _option(
        None,
        "File with what each Conv's error costs; measured and written if it is missing.",
        WORK,
        "--sensitivity",
        kind=Path,
        decides=True,
    )
    seed: int = _option(0, "Seed of the random numbers.", WORK, least=0, most=2**63 - 1, decides=True)
    overwrite: bool = _option(False, "Replace existing files.", WRITTEN, repeated=False)

    def __post_init__(self) -> None:
        """`UsageError` for a value of another type, or a number out of its range."""
        for entry in fields(self):
            value, kind = getattr(self, entry.name), str(entry.type).removesuffix(" | None")
            if value is None and kind != entry.type:
                continue
            if kind == "int":
                _check_integer(value, flag_of(entry))
            elif kind in _KINDS and not _KINDS[kind][0](value):
                raise UsageError(f"is of type {type(value).__name__}", entry.name, _KINDS[kind][1])
            elif isinstance(value, str) and "\0" in value:
                raise UsageError("has a NUL in it", entry.name, "give another text")

    @staticmethod
    def of(given: Mapping[str, Any]) -> RunOptions:
        """From values by name; lists become tuples, paths text; `UsageError` for a name that is no option."""
        known = [entry.name for entry in fields(RunOptions)]
        for name in given:
            if name not in known:
                raise UsageError(f"no option '{name}'", "options", nearest(name, known))
            if isinstance(given[name], str) and not given[name]:
                raise UsageError(f"{name} is empty", "options", "give a value, or leave it out")
        return RunOptions(**{name: _value(value) for name, value in given.items()})

    def refuse_unused(self, driver: str) -> None:
        """`UsageError` where an option is given that `driver` would not heed."""
        for name in UNUSED[driver]:
            if getattr(self, name) != RunOptions.__dataclass_fields__[name].default:
                raise UsageError(f"{driver} takes no {name}", "options", "leave it out")

    def deciding(self) -> dict[str, Any]:
        """The options whose values decide what comes out (`Flag.decides`), as plain values."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self) if flag_of(entry).decides}

    def plain(self) -> dict[str, Any]:
        """All options as JSON can hold them; arrays, functions and whatever else has no short spelling are `...`."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}


def flag_of(entry: Field[Any]) -> Flag:
    """The flag of a field of `RunOptions`; its names are filled in."""
    found = cast("Flag", entry.metadata[FLAG])
    if found.names:
        return found
    return replace(found, names=(f"--{entry.name.replace('_', '-')}",))


def _check_integer(value: Any, flag: Flag) -> None:
    low, high = (-INFINITY if flag.least is None else flag.least), (INFINITY if flag.most is None else flag.most)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= cast("int", value) <= high:
        raise UsageError(
            f"{value!r}: expected an integer from {low}{'' if high == INFINITY else f' to {high}'}", flag.names[0]
        )


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(part, str) for part in cast("tuple[object, ...]", value))


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "give True or False"),
    "str": (lambda value: isinstance(value, str), "give text"),
    "str | MetricFunction": (lambda value: isinstance(value, str) or callable(value), "give text, or a function"),
    "tuple[str, ...]": (_is_texts, "give a list of texts"),
}
"""By the type of an option: whether it takes a value, and how to mend one that it does not take."""


def _value(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    several = isinstance(value, list | tuple | set | frozenset)
    return tuple(_value(part) for part in cast("list[Any]", value)) if several else value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in cast("tuple[Any, ...]", value)]
    return value if value is None or isinstance(value, str | int | float) else "..."
