"""The public functions; options are those of `RunOptions`, by name.

result = compress("model.onnx", "basis:macs=0.5,quantize", data="photos.npz", preprocess="imagenet")
result.save("small.onnx")
print(result.report["after"]["macs"])
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

from .compiler.errors import CompressError
from .compiler.pipeline.keywords import in_keywords
from .compiler.pipeline.options import DEFAULTS, UNUSED, PathLike, RunOptions
from .compiler.pipeline.progress import Progress
from .compiler.report.frontier import Frontier
from .drivers.bisect import run_bisect
from .drivers.compress import Compressed
from .drivers.compress import compress as run_compress
from .drivers.culprit import Culprit
from .drivers.frontier import FrontierRequest, run_frontier
from .drivers.progress import chosen_progress
from .drivers.setup import ModelLike, Pipeline
from .runtime.data import load_samples

__all__ = ["Compressed", "bisect", "compress", "frontier", "load_samples"]

DEFAULT_PIPELINE = "basis,quantize"
F = TypeVar("F", bound=Callable[..., Any])


def takes_options(function: F) -> F:
    """Give a function that takes **options the signature and the docstring that list them, and its errors keywords."""
    unused, defaults = UNUSED.get(function.__name__, ()), DEFAULTS.get(function.__name__, {})
    own, kind = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
    named = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
    taken = [entry for entry in fields(RunOptions) if entry.name not in unused]
    more = [
        inspect.Parameter(entry.name, kind, default=defaults.get(entry.name, entry.default), annotation=entry.type)
        for entry in taken
    ]

    @functools.wraps(function)
    def speaking(*args: Any, **keywords: Any) -> Any:
        try:
            return function(*args, **keywords)
        except CompressError as error:
            in_keywords(error, own.parameters)
            raise

    vars(speaking)["__signature__"] = own.replace(parameters=[*named, *more])
    speaking.__doc__ = _with_options(function.__doc__, [entry.name for entry in taken])
    return cast("F", speaking)


def _with_options(doc: str | None, names: Collection[str]) -> str | None:
    """A docstring with the options in the place of a line that refers to `RunOptions`."""
    listed = (RunOptions.__doc__ or "").partition("Attributes:\n")[2].rstrip()
    entries = re.split(r"\n(?=        \S)", listed)
    kept = [entry for entry in entries if set(entry.partition(":")[0].replace(",", "").split()) & set(names)]
    return doc and doc.replace("        options: see `RunOptions`.", "\n".join(kept).strip("\n"))


@takes_options
def compress(
    model: ModelLike,
    pipeline: Pipeline = DEFAULT_PIPELINE,
    *,
    progress: Progress | bool | None = None,
    command: str | None = None,
    **options: Any,
) -> Compressed:
    """Run a pipeline over a model.

    Args:
        model: an ONNX file, or a loaded model.
        pipeline: pass names with options, or passes.
        progress: True: lines on stderr; False: none; or a function. None: lines in a notebook, none elsewhere.
        command: what the report names as the command that repeats the run; this call, if None.
        options: see `RunOptions`.

    Raises:
        UsageError: an option, a pass or a path is not valid.
        CompressError: the model or the data cannot be used, or a pass failed.
    """
    return run_compress(model, pipeline, RunOptions.of(options), chosen_progress(progress), command)


@takes_options
def frontier(
    model: ModelLike,
    method: Pipeline = "basis",
    *,
    eval_data: object = None,
    budget: str = "macs",
    points: int = 8,
    low: float = 0.3,
    high: float = 0.9,
    progress: Progress | bool | None = None,
    **options: Any,
) -> Frontier:
    """How good a model is at several sizes.

    Every point is kept in the cache folder as soon as it is done, and not computed again for the same model, data and
    options: an interrupted run goes on where it stopped. `data` must be given; of it 2,336 samples are used, and all
    cores, unless another number is given. Beside `output`, a JSON file, a table and a drawing (`.csv`, `.svg`) appear.

    Args:
        method: a pass without its budget, and passes that follow it at every point.
        eval_data: samples to judge on. Without them every second block of `data` is judged on and not fitted to.
        budget: what is varied: "macs" or "latency".
        points, low, high: so many shares, evenly from low to high.
        progress: see `compress`.
        options: see `RunOptions`.

    Raises:
        UsageError: an option, a pass or a path is not valid.
        CompressError: the model or the data cannot be used, or a pass failed.
    """
    asked = RunOptions.of({**DEFAULTS["frontier"], **options})
    return run_frontier(
        model, method, FrontierRequest(eval_data, budget, points, low, high), asked, chosen_progress(progress)
    )


@takes_options
def bisect(
    model: ModelLike,
    pipeline: Pipeline = DEFAULT_PIPELINE,
    *,
    check: str,
    folder: PathLike = ".",
    progress: Progress | bool | None = None,
    **options: Any,
) -> tuple[Culprit, Path]:
    """Which pass, and which node that it rewrites, makes the model fail a check; see `drivers.bisect`.

    Args:
        check: see `drivers.checks`.
        folder: where the folder with the models before and after is written; its path is returned.
        progress: see `compress`.
        options: see `RunOptions`.

    Raises:
        UsageError: an option, a pass or a check is not valid.
        CompressError: the model fails the check before any pass, or passes it after all; or a pass failed.
    """
    return run_bisect(model, pipeline, check, Path(folder), RunOptions.of(options), chosen_progress(progress))
